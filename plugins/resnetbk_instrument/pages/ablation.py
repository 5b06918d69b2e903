"""The page of an ablation: what each factor is worth alone and in combination; never a product."""

from __future__ import annotations

from resnetbk_instrument.pages import sentences as words
from resnetbk_instrument.pages.bars import Estimate, Group, forest
from resnetbk_instrument.pages.comparison import sections
from resnetbk_instrument.pages.html import Cell, Figure, Table, over_ends, render
from resnetbk_instrument.pages.numbers import change, digits
from resnetbk_instrument.results.comparison import Ablation, Factor, Worth
from resnetbk_instrument.results.costs import COSTS, MAIN

_VERDICTS = ("keep", "undecided", "drop")
_HUES = {"keep": 1, "undecided": 0, "drop": 2}


def ablation_page(ablation: Ablation) -> str:
    comparison = ablation.comparison
    ratio = comparison.goal.loss is not None
    what = f"times {COSTS[MAIN].less}" if ratio else f"{words.short_unit(comparison)} gained"
    groups = [
        Group(each.name, _HUES[each.verdict], _estimates(each), each.verdict) for each in ablation.factors
    ]
    shown = digits if ratio else change
    picture = forest("factors", f"Worth of each factor, {what}", groups, ratio=ratio, shown=shown)
    return render(
        "ablation",
        title=comparison.name,
        kind="ablation",
        headline=_headline(ablation),
        advice=_advice(ablation),
        circumstances=words.circumstances(comparison),
        amortised=any(factor.amortised for factor in ablation.factors),
        forest=Figure(picture),
        factors=_factors(ablation, what, ratio),
        left_out=ablation.left_out,
        **sections(comparison),
    )


def _headline(ablation: Ablation) -> words.Claim:
    comparison = ablation.comparison
    whole = next((variant for variant in comparison.variants[1:] if variant.name == ablation.whole), None)
    if whole is None:
        return words.Claim("The combination of all factors was ", "not measured", ".")
    return words.verdict(comparison, whole, "The spec with all factors", "the one without any")


def _advice(ablation: Ablation) -> str:
    names = {
        verdict: [factor.name for factor in ablation.factors if factor.verdict == verdict]
        for verdict in _VERDICTS
    }
    sorted_out = "; ".join(f"{verdict} {', '.join(names[verdict])}" for verdict in names if names[verdict])
    return f"Verdicts: {sorted_out}." if sorted_out else "There is no factor."


def _factors(ablation: Ablation, what: str, ratio: bool) -> Table:
    shown = digits if ratio else change
    rows = [
        [
            *_heading(factor, targets),
            over_ends(worth.combined, shown),
            over_ends(worth.alone, shown),
            over_ends(worth.interaction, shown),
        ]
        for factor in ablation.factors
        for targets, worth in _worths(factor).items()
    ]
    kind = "combination / alone" if ratio else "combination minus alone"
    # the verdict goes by the combination, so that it stands where a narrow screen shows it
    head = ["factor", "verdict", f"in combination, {what}", f"alone, {what}", f"interaction, {kind}"]
    return Table(head, rows, words=2)


def _estimates(factor: Factor) -> list[Estimate]:
    """Of shared costs only what differs from the worth with them in full."""
    full = factor.worth
    return [
        Estimate(f"{text}{_among(targets)}", interval, hollow)
        for targets, worth in _worths(factor).items()
        for text, interval, same, hollow in (
            ("alone", worth.alone, full.alone, True),
            ("in combination", worth.combined, full.combined, False),
        )
        if interval is not None and (targets == 1 or interval != same)
    ]


def _worths(factor: Factor) -> dict[int, Worth]:
    """By the number of targets that share the cost of parent runs."""
    return {1: factor.worth, **factor.amortised}


def _heading(factor: Factor, targets: int) -> tuple[str | Cell, str | Cell]:
    """A row's factor and verdict."""
    if targets > 1:
        return f"{factor.name}{_among(targets)}", ""
    return Cell(factor.name, factor.what), Cell(factor.verdict, factor.note, strong=True)


def _among(targets: int) -> str:
    return f", {targets} targets" if targets > 1 else ""
