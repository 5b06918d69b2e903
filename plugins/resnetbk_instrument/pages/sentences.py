"""The results of a comparison in sentences. What is claimed is the sure end of an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs

from resnetbk_instrument.pages.numbers import Rounding, amount, certain, change, ends, nats, spread, times
from resnetbk_instrument.results.comparison import Comparison, Interval, Variant
from resnetbk_instrument.results.costs import COSTS, MAIN, Cost
from resnetbk_instrument.results.ngram_baseline import gram_name


def short_unit(comparison: Comparison) -> str:
    """Of a loss, in a sentence."""
    return "nats" if comparison.goal.unit == "nats/token" else comparison.goal.unit


def level(shown: str, unit: str) -> str:
    """So much of a unit, in a sentence."""
    return f"an error rate of {shown}" if unit == "error rate" else f"{shown} {unit}"


def held_out(comparison: Comparison) -> str:
    """What is measured, as a heading."""
    unit = comparison.goal.unit
    return "Held-out error rate" if unit == "error rate" else f"Held-out loss, {unit}"


@attrs.frozen
class Claim:
    """A sentence with what it claims, which a page sets off, in its middle."""

    start: str
    strong: str = ""
    end: str = ""


def chosen(comparison: Comparison) -> Variant:
    """The variant that the headline is about: the one that did best beside the first."""
    first, others = comparison.variants[0], comparison.variants[1:]
    return first if first.refused or not others else max(others, key=_worth)


def verdict(comparison: Comparison, variant: Variant, name: str = "", first: str = "") -> Claim:
    """On `variant` against the baseline, which are called by their names or as told."""
    name, first = name or variant.name, first or comparison.variants[0].name
    if variant.refused:
        others = "; there is no baseline for the others" if variant is comparison.variants[0] else ""
        return Claim(f"{name} is ", "refused", f": {variant.refused}{others}.")
    if variant is comparison.variants[0]:
        return Claim(f"{name} ends at {level(nats(variant.loss.estimate), comparison.goal.unit)}.")
    if comparison.goal.loss is None:
        besides = (
            ", the cost of its parent runs not counted" if variant.name in comparison.with_parents() else ""
        )
        end = f" at {goal_words(comparison)}{besides}."
        return _gain(name, variant.gained, first, short_unit(comparison), end)
    cost = next((cost for key, cost in COSTS.items() if key in variant.saved), None)
    if cost is None:
        return Claim(f"{name} has ", "no number", f" to compare with {first}.")
    return _saving(
        name, first, cost, variant.saved[cost.key], level(f"{comparison.goal.loss:g}", short_unit(comparison))
    )


def _saving(name: str, first: str, cost: Cost, saved: Interval, goal: str) -> Claim:
    numbers = _numbers(saved, times)
    if not certain(saved):
        less = saved.estimate >= 1
        way, seen = (cost.less, saved) if less else (cost.more, _turned(saved))
        ratio, few = times(seen.estimate), _numbers(seen, times)
        return Claim(f"{name} reaches {goal} in {ratio} {way} than {first}, {few}.")
    if saved.low > 1:
        claim = f"at least {times(saved.low, math.floor)} {cost.less}"
        return Claim(f"{name} reaches {goal} in ", claim, f" than {first} {numbers}.")
    if saved.high < 1:
        turned = _turned(saved)
        claim = f"at least {times(turned.low, math.floor)} {cost.more}"
        return Claim(f"{name} takes ", claim, f" than {first} to reach {goal} {_numbers(turned, times)}.")
    end = f" in {cost.title} from {first} on the way to {goal} {numbers}."
    return Claim(f"{name} shows ", "no sure difference", end)


def _turned(ratio: Interval) -> Interval:
    """The ratio the other way round."""
    estimate, low, high, *values = (
        1 / max(value, 1e-12) for value in (ratio.estimate, ratio.high, ratio.low, *ratio.values)
    )
    return Interval(estimate, low, high, ratio.n, tuple(values))


def _gain(name: str, gained: Interval | None, first: str, of: str, end: str) -> Claim:
    if gained is None:
        return Claim(f"{name} has ", "no number", f" to compare with {first}{end}")
    numbers = _numbers(gained, change)
    if not certain(gained):
        way = "better" if gained.estimate >= 0 else "worse"
        return Claim(f"{name} is {nats(abs(gained.estimate))} {of} {way} than {first}, {numbers},{end}")
    for bound, way in ((gained.low, "better"), (-gained.high, "worse")):
        if bound > 0:
            claim = f"at least {nats(bound, math.floor)} {of} {way}"
            return Claim(f"{name} is ", claim, f" than {first} {numbers}{end}")
    return Claim(f"{name} shows ", "no sure difference", f" from {first} {numbers}{end}")


def _numbers(interval: Interval, shown: Callable[[float, Rounding], str]) -> str:
    if not certain(interval):
        if few := spread(interval, shown):
            return f"in {interval.n} pairs, too few for an interval ({few})"
        return "in one pair, which gives no interval" if interval.n == 1 else "without an interval"
    return (
        f"({shown(interval.estimate, round)}, 95\N{NO-BREAK SPACE}% interval {ends(interval, shown)}, "
        f"{interval.n} pairs)"
    )


def goal_words(comparison: Comparison) -> str:
    goal = comparison.goal
    if goal.loss is not None:
        if goal.unit == "error rate":
            return f"an error rate of {goal.loss:g} at held-out labels"
        return f"a held-out loss of {goal.loss:g} {goal.unit}"
    cost = COSTS[goal.equal or MAIN]
    budget = f" ({amount(cost.units, goal.budget)})" if goal.budget is not None else ""
    return f"equal {cost.title}{budget}"


def circumstances(comparison: Comparison) -> str:
    """How much was done for it."""
    rounds = len({trial.pair for trial in comparison.trials if trial.pair >= 0 and trial.kept})
    said = [
        f"{rounds} {'round' if rounds == 1 else 'rounds'}",
        *(
            [f"{comparison.untimed()} without times ({comparison.untimed_because()})"]
            if comparison.untimed()
            else []
        ),
        *([f"{comparison.thrown_out} more thrown out"] if comparison.thrown_out else []),
        f"{len(comparison.trials)} trainings",
    ]
    return f"Goal: {goal_words(comparison)}. {', '.join(said)}."


def baseline_words(ngram_baseline: Mapping[int, float]) -> str:
    if not ngram_baseline:
        return ""
    listed = ", ".join(f"{gram_name(order)} {nats(loss)}" for order, loss in sorted(ngram_baseline.items()))
    return f"Counting alone reaches, on the same text: {listed}; dotted where it is in the picture."


def _worth(variant: Variant) -> float:
    interval = variant.gained or next(iter(variant.saved.values()), None)
    if variant.refused or interval is None:
        return -math.inf
    sure = interval.low if certain(interval) else interval.estimate
    return sure if math.isfinite(sure) else -math.inf
