"""The page of an ablation: what each factor is worth alone and in company, as measured; never a product."""

from __future__ import annotations

from html import escape

from resnetbk_instrument.pages import html
from resnetbk_instrument.pages import sentences as words
from resnetbk_instrument.pages.bars import Estimate, Group, forest
from resnetbk_instrument.pages.comparison import sections
from resnetbk_instrument.results.comparison import Ablation, Factor, Worth

_VERDICTS = ("keep", "undecided", "drop")
_HUES = {"keep": 1, "undecided": 0, "drop": 2}


def ablation_page(found: Ablation) -> str:
    return html.page(
        found.comparison.name, "ablation", _lead(found), _factor_section(found), *sections(found.comparison)
    )


def _lead(found: Ablation) -> str:
    comparison = found.comparison
    whole = next((arm for arm in comparison.arms[1:] if arm.name == found.whole), None)
    if whole is None:
        head = "The combination of all factors was <b>not measured</b>."
    else:
        head = words.verdict(comparison, whole, "The spec with all factors", "the one without any")
    sorted_out = [
        f"{verdict} {', '.join(factor.name for factor in found.factors if factor.verdict == verdict)}"
        for verdict in _VERDICTS
        if any(factor.verdict == verdict for factor in found.factors)
    ]
    advice = f"Verdicts: {'; '.join(sorted_out)}." if sorted_out else "There is no factor."
    return (
        f'<p class="verdict">{head}</p><p>{escape(advice)}</p>'
        f'<p class="aside">{escape(words.circumstances(comparison))}</p>'
    )


def _factor_section(found: Ablation) -> str:
    ratio = found.comparison.goal.loss is not None
    shown = html.digits if ratio else html.change
    groups = [
        Group(
            factor.name,
            _HUES[factor.verdict],
            _estimates(factor),
            factor.verdict,
        )
        for factor in found.factors
    ]
    what = "times less time" if ratio else f"{words.short_unit(found.comparison)} gained"
    picture = forest("factors", f"Worth of each factor, {what}", groups, ratio=ratio, shown=shown)
    rows = [
        [
            *_heading(factor, targets),
            html.over_ends(worth.alone, shown),
            html.over_ends(worth.company, shown),
            html.over_ends(worth.interaction, shown),
        ]
        for factor in found.factors
        for targets, worth in _worths(factor).items()
    ]
    kind = "company / alone" if ratio else "company minus alone"
    head = ["factor", "verdict", f"alone, {what}", f"in company, {what}", f"interaction, {kind}"]
    note = (
        "Alone: added to nothing else. In company: added to all others, which is what the verdict goes by. "
        "The whole is measured as a combination of its own; worths of factors are not multiplied."
    )
    if any(factor.amortised for factor in found.factors):
        note += " With targets: what the sources cost is shared among so many; the verdict has it in full."
    refused = "; ".join(f"{name} ({reason})" for name, reason in found.left_out.items())
    return html.section(
        "What each factor is worth",
        html.element("p", note, "note"),
        html.panels(html.figure(picture, "")) if picture else "",
        html.grid(head, rows, words=2),
        html.element("p", f"Combinations that cannot be: {refused}.", "note") if refused else "",
    )


def _estimates(factor: Factor) -> list[Estimate]:
    """Of shared costs only what differs from the worth with them in full."""
    full = factor.worth
    return [
        Estimate(f"{text}{_among(targets)}", interval, hollow)
        for targets, worth in _worths(factor).items()
        for text, interval, same, hollow in (
            ("alone", worth.alone, full.alone, True),
            ("in company", worth.company, full.company, False),
        )
        if interval is not None and (targets == 1 or interval != same)
    ]


def _worths(factor: Factor) -> dict[int, Worth]:
    """By the number of targets that share what sources cost."""
    return {1: factor.worth, **factor.amortised}


def _heading(factor: Factor, targets: int) -> tuple[str, str]:
    """A row's factor and verdict."""
    if targets > 1:
        return escape(f"{factor.name}{_among(targets)}"), ""
    return (
        f"{escape(factor.name)}<small>{escape(factor.what)}</small>",
        f"<b>{escape(factor.verdict)}</b><small>{escape(factor.note)}</small>",
    )


def _among(targets: int) -> str:
    return f", {targets} targets" if targets > 1 else ""
