"""What a comparison came to, in sentences. What is claimed is the sure end of an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from html import escape

from resnetbk_instrument.pages import html
from resnetbk_instrument.pages.html import Rounding
from resnetbk_instrument.pages.svg import hue_index
from resnetbk_instrument.results.comparison import Arm, Comparison, Interval
from resnetbk_instrument.results.costs import COSTS, MAIN, Cost
from resnetbk_instrument.results.ngram_baseline import gram_name


def unit(found: Comparison) -> str:
    """What a loss is counted in."""
    return "bits a byte" if found.goal.unit == "bits/byte" else "nats a token"


def short_unit(found: Comparison) -> str:
    return "bits a byte" if found.goal.unit == "bits/byte" else "nats"


def lead(found: Comparison) -> str:
    """HTML: the verdict of the arm that did best, those of the others, and circumstances."""
    first, others = found.arms[0], found.arms[1:]
    chosen = first if first.refused or not others else max(others, key=_worth)
    lines = "".join(
        f'<li><i style="background: var(--hue-{hue_index(number)})"></i>{verdict(found, arm)}</li>'
        for number, arm in enumerate(found.arms)
        if arm is not chosen and arm is not first
    )
    rest = f'<ul class="verdicts">{lines}</ul>' if lines else ""
    head = f'<p class="verdict">{verdict(found, chosen)}</p>'
    return f'{head}{rest}<p class="aside">{escape(circumstances(found))}</p>'


def verdict(found: Comparison, arm: Arm, name: str = "", first: str = "") -> str:
    """HTML: one sentence on `arm` against the first arm, which are called by their names or as told."""
    name, first = escape(name or arm.name), escape(first or found.arms[0].name)
    if arm.refused:
        others = "; the other arms have nothing to be held against" if arm is found.arms[0] else ""
        return f"{name} is <b>refused</b>: {escape(arm.refused)}{others}."
    if arm is found.arms[0]:
        return f"{name} ends at {html.nats(arm.loss.estimate)} {unit(found)}."
    if found.goal.loss is None:
        besides = ", what its source cost not counted" if arm.name in found.building() else ""
        gain = _gain(arm.gained, first, short_unit(found))
        return f"{name} {gain} at {escape(goal_words(found))}{besides}."
    cost = next((cost for key, cost in COSTS.items() if key in arm.saved), None)
    if cost is None:
        return f"{name} has <b>no number</b> to hold against {first}."
    return f"{_saving(name, first, cost, arm.saved[cost.key], f'{found.goal.loss:g} {short_unit(found)}')}."


def _saving(name: str, first: str, cost: Cost, saved: Interval, goal: str) -> str:
    less, more, numbers = cost.less, cost.more, _numbers(saved, html.times)
    if not html.certain(saved):
        way, ratio = (less, saved.estimate) if saved.estimate >= 1 else (more, 1 / max(saved.estimate, 1e-12))
        return f"{name} reaches {goal} in {html.times(ratio)} {way} than {first}, {numbers}"
    if saved.low > 1:
        claim = f"at least {html.times(saved.low, math.floor)} {less}"
        return f"{name} reaches {goal} in <b>{claim}</b> than {first} {numbers}"
    if saved.high < 1:
        turned = Interval(1 / saved.estimate, 1 / saved.high, 1 / max(saved.low, 1e-12), saved.n)
        claim = f"at least {html.times(turned.low, math.floor)} {more}"
        return f"{name} takes <b>{claim}</b> than {first} to reach {goal} {_numbers(turned, html.times)}"
    return (
        f"{name} shows <b>no sure difference</b> in {cost.title} from {first} on the way to {goal} {numbers}"
    )


def _gain(gained: Interval | None, first: str, nats: str) -> str:
    if gained is None:
        return f"has <b>no number</b> to hold against {first}"
    numbers = _numbers(gained, html.change)
    if not html.certain(gained):
        way = "better" if gained.estimate >= 0 else "worse"
        return f"is {html.nats(abs(gained.estimate))} {nats} {way} than {first}, {numbers},"
    for bound, way in ((gained.low, "better"), (-gained.high, "worse")):
        if bound > 0:
            return f"is <b>at least {html.nats(bound, math.floor)} {nats} {way}</b> than {first} {numbers}"
    return f"shows <b>no sure difference</b> from {first} {numbers}"


def _numbers(interval: Interval, shown: Callable[[float, Rounding], str]) -> str:
    if not html.certain(interval):
        return "in one pair, which gives no interval" if interval.n == 1 else "without an interval"
    return (
        f"({shown(interval.estimate, round)}, 95&nbsp;% interval {html.ends(interval, shown)}, "
        f"{interval.n} pairs)"
    )


def goal_words(found: Comparison) -> str:
    goal = found.goal
    if goal.loss is not None:
        return f"a held-out loss of {goal.loss:g} {unit(found)}"
    cost = COSTS[goal.equal or MAIN]
    budget = f" ({html.amount(cost.units, goal.budget)})" if goal.budget is not None else ""
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
    listed = ", ".join(f"{gram_name(order)} {html.nats(nats)}" for order, nats in sorted(floors.items()))
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
    sure = interval.low if html.certain(interval) else interval.estimate
    return sure if math.isfinite(sure) else -math.inf
