"""Comparisons and ablations as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from rich.console import Console
from rich.markup import escape

from resnetbk.cli.as_json import print_json
from resnetbk.cli.tables import table
from resnetbk.terminal import duration
from resnetbk_instrument.pages.numbers import certain
from resnetbk_instrument.results.comparison import Ablation, Comparison, Interval, Variant, Worth
from resnetbk_instrument.results.costs import COSTS, INFERENCE, MAIN, SHOWN, TRAINING, Cost
from resnetbk_instrument.results.ngram_baseline import gram_name
from resnetbk_instrument.session.estimate import VariantEstimate
from resnetbk_instrument.session.plan import Plan


def print_comparison(comparison: Comparison) -> None:
    """The results of each variant and the n-gram baseline; what that is beside the first variant; and why a
    variant has no numbers."""
    goal, first = comparison.goal, comparison.variants[0]
    console = Console(highlight=False)
    at = f"to {goal.loss:g} {goal.unit}" if goal.loss is not None else f"at equal {goal.equal}"
    console.print(f"[bold]{escape(comparison.name)}[/] {at}")
    rows = table("", "parameters", goal.unit, *(cost.key for cost in TRAINING))
    for variant in comparison.variants:
        cells = _spent(variant.reached or variant.spent, TRAINING)
        rows.add_row(escape(variant.name), f"{variant.parameters:,}", f"{variant.loss.estimate:.4f}", *cells)
    for order, loss in sorted(comparison.ngram_baseline.items()):
        rows.add_row(f"{gram_name(order)} counts", "", f"{loss:.4f}", style="dim")
    console.print(rows)
    used = [(variant, variant.reached or variant.spent) for variant in comparison.variants]
    if any(cost.key in costs for _, costs in used for cost in INFERENCE):
        rows = table("the trained model, per token", *(cost.key.replace("_", " ") for cost in INFERENCE))
        for variant, costs in used:
            rows.add_row(escape(variant.name), *_spent(costs, INFERENCE))
        console.print()
        console.print(rows)
    worths = [
        (variant.name if not number else "", what, worth)
        for variant in comparison.variants[1:]
        for number, (what, worth) in enumerate(_worths(variant).items())
    ]
    if worths:
        rows = table(f"beside {first.name}", "", "at least", "mean", "95 % interval", left=(0, 1))
        for name, what, worth in worths:
            rows.add_row(escape(name), what, *_cells(worth, goal.loss is not None))
        console.print()
        console.print(rows)
    for variant in comparison.variants:
        if variant.refused:
            console.print(
                f"{escape(variant.name)}: unequal, so no number: {escape(variant.refused)}", soft_wrap=True
            )
    if goal.loss is None and (names := ", ".join(comparison.with_parents())):
        console.print(f"not in the budget: the cost of the parent runs of {escape(names)}", soft_wrap=True)
    counted = max((variant.loss.n for variant in comparison.variants if not variant.refused), default=0)
    why = comparison.untimed_because()
    moved = f", {comparison.untimed()} without seconds: {why}" if comparison.untimed() else ""
    thrown = f", {comparison.thrown_out} thrown out" if comparison.thrown_out else ""
    console.print(f"[dim]{counted} rounds{moved}{thrown}[/]", soft_wrap=True)


def _worths(variant: Variant) -> dict[str, Interval]:
    """Beside the baseline: what is saved of each cost, also with its parents' shared, or the loss gained."""
    if variant.gained is not None:
        return {"less loss": variant.gained}
    worths = {cost.less: variant.saved[cost.key] for cost in SHOWN if cost.key in variant.saved}
    for targets, saved in variant.amortised.items():
        worths |= {f"{c.less}, {targets} targets": saved[c.key] for c in TRAINING if c.key in saved}
    return worths


def _spent(costs: Mapping[str, Interval], columns: Sequence[Cost]) -> list[str]:
    return [short(costs[cost.key].estimate) if cost.key in costs else "-" for cost in columns]


def _cells(worth: Interval, ratio: bool) -> tuple[str, str, str]:
    """What is claimed, which of a ratio is its lower end; the estimate; the interval."""
    shown = "{:.2f}" if ratio else "{:+.4f}"
    estimate, low, high = (shown.format(value) for value in (worth.estimate, worth.low, worth.high))
    if certain(worth):
        return f"{low}x" if ratio else low, estimate, f"{low} to {high}"
    return "?", estimate, _each(worth, shown) or "one pair has none"


def _each(worth: Interval, shown: str) -> str:
    """The values themselves where they are too few for an interval; "" of one."""
    each = ", ".join(map(shown.format, worth.values))
    return f"none; each {each}" if worth.n > 1 else ""


def print_ablation(ablation: Ablation) -> None:
    """The comparison, then a row a factor with 95 % intervals."""
    print_comparison(ablation.comparison)
    ratio = ablation.comparison.goal.loss is not None
    what = f"times {COSTS[MAIN].less}" if ratio else "less loss"
    rows = table(what, "alone", "in combination", "interaction", "verdict", left=(0, 4))
    styles = {"keep": "bold", "drop": "dim"}
    for factor in ablation.factors:
        style = styles.get(factor.verdict, "")
        rows.add_row(escape(factor.name), *_ranges(factor.worth, ratio), factor.verdict, style=style)
        for targets, worth in factor.amortised.items():
            rows.add_row(f"  {targets} targets", *_ranges(worth, ratio), "", style=style)
    console = Console(highlight=False)
    console.print()
    console.print(rows)
    for factor in ablation.factors:
        note = f"; {factor.note}" if factor.note else ""
        console.print(f"{escape(factor.name)}: {escape(factor.what + note)}", soft_wrap=True)
    for name, reason in ablation.left_out.items():
        console.print(f"{escape(name)}: left out: {escape(reason)}", soft_wrap=True)


def print_plan(plan: Plan, expected: Sequence[VariantEstimate], as_json: bool) -> None:
    """What would be trained, and for about how long."""
    seeds = [plan.seed(pair) for pair in (0, plan.pairs - 1)]
    total = sum(each.seconds for each in expected)
    if as_json:
        tree = {
            "name": plan.name,
            "goal": attrs.asdict(plan.goal),
            "pairs": plan.pairs,
            "seeds": seeds,
            "variants": [attrs.asdict(each) for each in expected],
            "seconds": total,
        }
        print_json(tree)
        return
    own = plan.goal.loss is not None  # else the budget says how many
    rows = table("", "own steps" if own else "steps", "s/step", "s besides", "trainings", "time")
    for each in expected:
        rows.add_row(
            escape(each.variant), f"{each.steps:,}", f"{each.each:.4f}",
            f"{each.besides:.1f}", str(each.trainings), duration(each.seconds),
        )  # fmt: skip
    needs = "variants need about their own steps, and " if own else ""
    search = "" if own else "after two short trainings of each, from which its steps are known; "
    console = Console(highlight=False)
    console.print(rows)
    console.print(
        f"\n{search}{plan.pairs} rounds with seeds {seeds[0]} to {seeds[1]}, in turns; about "
        f"{duration(total)} if {needs}no round is repeated",
        soft_wrap=True,
    )


def short(number: float) -> str:
    """1234567 -> `1.23M`."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def _ranges(worth: Worth, ratio: bool) -> list[str]:
    return [_range(each, ratio) for each in (worth.alone, worth.combined, worth.interaction)]


def _range(worth: Interval | None, ratio: bool) -> str:
    """`1.12 to 1.30`, or the estimate with a question mark where there is no interval."""
    if worth is None:
        return "-"
    shown = "{:.2f}" if ratio else "{:+.4f}"
    if not certain(worth):
        return f"{shown.format(worth.estimate)}?"
    return f"{shown.format(worth.low)} to {shown.format(worth.high)}"
