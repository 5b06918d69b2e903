"""What a comparison came to, in sentences. What is claimed is the sure end of an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs

from resnetbk_instrument.pages.numbers import Rounding, amount, certain, change, ends, nats, times
from resnetbk_instrument.results.comparison import Arm, Comparison, Interval
from resnetbk_instrument.results.costs import COSTS, MAIN, Cost
from resnetbk_instrument.results.ngram_baseline import gram_name


def unit(found: Comparison) -> str:
    """What a loss is counted in."""
    return "bits a byte" if found.goal.unit == "bits/byte" else "nats a token"


def short_unit(found: Comparison) -> str:
    return "bits a byte" if found.goal.unit == "bits/byte" else "nats"


@attrs.frozen
class Claim:
    """A sentence with what it claims, which a page sets off, in its middle."""

    start: str
    strong: str = ""
    end: str = ""


def chosen(found: Comparison) -> Arm:
    """The arm that the headline is about: the one that did best beside the first."""
    first, others = found.arms[0], found.arms[1:]
    return first if first.refused or not others else max(others, key=_worth)


def verdict(found: Comparison, arm: Arm, name: str = "", first: str = "") -> Claim:
    """On `arm` against the first arm, which are called by their names or as told."""
    name, first = name or arm.name, first or found.arms[0].name
    if arm.refused:
        others = "; the other arms have nothing to be held against" if arm is found.arms[0] else ""
        return Claim(f"{name} is ", "refused", f": {arm.refused}{others}.")
    if arm is found.arms[0]:
        return Claim(f"{name} ends at {nats(arm.loss.estimate)} {unit(found)}.")
    if found.goal.loss is None:
        besides = ", what its source cost not counted" if arm.name in found.building() else ""
        end = f" at {goal_words(found)}{besides}."
        return _gain(name, arm.gained, first, short_unit(found), end)
    cost = next((cost for key, cost in COSTS.items() if key in arm.saved), None)
    if cost is None:
        return Claim(f"{name} has ", "no number", f" to hold against {first}.")
    return _saving(name, first, cost, arm.saved[cost.key], f"{found.goal.loss:g} {short_unit(found)}")


def _saving(name: str, first: str, cost: Cost, saved: Interval, goal: str) -> Claim:
    numbers = _numbers(saved, times)
    if not certain(saved):
        less = saved.estimate >= 1
        way, ratio = (cost.less, saved.estimate) if less else (cost.more, 1 / max(saved.estimate, 1e-12))
        return Claim(f"{name} reaches {goal} in {times(ratio)} {way} than {first}, {numbers}.")
    if saved.low > 1:
        claim = f"at least {times(saved.low, math.floor)} {cost.less}"
        return Claim(f"{name} reaches {goal} in ", claim, f" than {first} {numbers}.")
    if saved.high < 1:
        turned = Interval(1 / saved.estimate, 1 / saved.high, 1 / max(saved.low, 1e-12), saved.n)
        claim = f"at least {times(turned.low, math.floor)} {cost.more}"
        return Claim(f"{name} takes ", claim, f" than {first} to reach {goal} {_numbers(turned, times)}.")
    end = f" in {cost.title} from {first} on the way to {goal} {numbers}."
    return Claim(f"{name} shows ", "no sure difference", end)


def _gain(name: str, gained: Interval | None, first: str, of: str, end: str) -> Claim:
    if gained is None:
        return Claim(f"{name} has ", "no number", f" to hold against {first}{end}")
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
        return "in one pair, which gives no interval" if interval.n == 1 else "without an interval"
    return (
        f"({shown(interval.estimate, round)}, 95\N{NO-BREAK SPACE}% interval {ends(interval, shown)}, "
        f"{interval.n} pairs)"
    )


def goal_words(found: Comparison) -> str:
    goal = found.goal
    if goal.loss is not None:
        return f"a held-out loss of {goal.loss:g} {unit(found)}"
    cost = COSTS[goal.equal or MAIN]
    budget = f" ({amount(cost.units, goal.budget)})" if goal.budget is not None else ""
    return f"equal {cost.title}{budget}"


def circumstances(found: Comparison) -> str:
    """How much was done for it."""
    rounds = len({trial.pair for trial in found.trials if trial.pair >= 0 and trial.kept})
    said = [
        f"{rounds} {'round' if rounds == 1 else 'rounds'}",
        *([f"{found.thrown_out} more thrown out"] if found.thrown_out else []),
        f"{len(found.trials)} trainings",
    ]
    return f"Goal: {goal_words(found)}. {', '.join(said)}."


def floor_words(floors: Mapping[int, float]) -> str:
    if not floors:
        return ""
    listed = ", ".join(f"{gram_name(order)} {nats(loss)}" for order, loss in sorted(floors.items()))
    return f"Counting alone reaches, on the same text: {listed}; dotted where it is in the picture."


def method_words(found: Comparison) -> list[str]:
    """How it was measured, in paragraphs."""
    paired = (
        "Every arm is trained once a round and budget, with one seed for all arms, in an order that turns "
        "round from one round to the next (ABBA), by one process on one machine. A fixed piece of work is "
        "timed before and after each training; a round in which the machine's speed moved is thrown out and "
        "repeated."
    )
    costs = (
        "Each budget is a training of its own, whose learning rate decays to its end. Costs are all-in: the "
        "set-up that a spec causes, scoring passes and steps; measuring the held-out loss is not charged. "
        "Inference is what the trained model needs to read the held-out text, for each token, and no part of "
        "what its training costs."
    )
    if found.building():
        costs += (
            " What it cost to train the runs that an arm starts from, or chooses its data by, is charged "
            "too, once in full and once shared among several targets"
            + ("." if found.goal.loss is not None else "; a budget is for the training itself.")
        )
    if found.goal.loss is not None:
        means = (
            "The cost at which an arm reaches the goal is interpolated between its budgets. Ratios are "
            "geometric means over rounds"
        )
    else:
        means = "Gains are means over rounds"
    means += (
        ", with Student's t intervals; what is claimed is the end of the interval that is nearer to no "
        "difference."
    )
    counting = "The floor is interpolated Kneser-Ney counting on the same tokens."
    return [paired, f"{costs} {means}", *([counting] if found.floors else [])]


def _worth(arm: Arm) -> float:
    interval = arm.gained or next(iter(arm.saved.values()), None)
    if arm.refused or interval is None:
        return -math.inf
    sure = interval.low if certain(interval) else interval.estimate
    return sure if math.isfinite(sure) else -math.inf
