"""From trainings to numbers: what each variant reached, spent, saved and gained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from resnetbk.lock.lock import resolved
from resnetbk_instrument.results.comparison import TARGETS, Comparison, Goal, Interval, Trial, Variant
from resnetbk_instrument.results.costs import COSTS
from resnetbk_instrument.results.statistics import (
    difference_interval,
    geometric_interval,
    mean_interval,
    ratio_interval,
)
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.plan import Plan
from resnetbk_instrument.session.search import reached, rounds

Rounds = dict[int, dict[str, float]]
"""By round: each cost, and, at equal budgets, `loss`."""


def conclude(
    plan: Plan,
    journal: Journal,
    refused: Mapping[str, str],
    *,
    ngram_baseline: Mapping[int, float] | None = None,
    machine: Mapping[str, str] | None = None,
    command: str = "",
) -> Comparison:
    """The comparison that the journal holds all trainings of. It may hold more rounds than the plan has by
    now, the last of them unfinished; they are left out."""
    trials = tuple(trial for trial in journal.trials if trial.pair < plan.pairs)
    measured = {variant: measures(plan.goal, trials, variant, refused) for variant in plan.variants}
    first = next(iter(plan.variants))
    goal = plan.goal
    if goal.equal and goal.budget is None and measured[first]:
        spent = [each[goal.equal] for each in measured[first].values()]
        goal = attrs.evolve(goal, budget=geometric_interval(spent).estimate)
    return Comparison(
        name=plan.name,
        goal=goal,
        variants=tuple(_variant(plan, trials, variant, measured, refused) for variant in plan.variants),
        trials=trials,
        ngram_baseline=ngram_baseline or {},
        machine=machine or {},
        command=command,
        thrown_out=thrown_out(trials),
    )


def measures(
    goal: Goal, trials: Sequence[Trial], variant: str, refused: Mapping[str, str], targets: int = 1
) -> Rounds:
    """What a variant cost in each round that counts, with its share of the cost of its parent runs when that
    is shared among `targets`, without costs that its parents do not report; nothing when it was refused."""
    if variant in refused:
        return {}
    if goal.loss is not None:
        measured = reached(trials, variant, goal)
    else:
        measured = {
            pair: {**_costs(trial), "loss": goal.loss_of(trial)}
            for pair, (trial, *_) in rounds(trials, variant).items()
        }
    parents = _parents_cost(trials, variant)
    unknown = {c.key for c in COSTS.values() if parents and not c.inference and c.key not in parents}
    return {
        pair: {
            cost: value + parents.get(cost, 0.0) / targets
            for cost, value in each.items()
            if cost not in unknown
        }
        for pair, each in measured.items()
    }


def ratios(above: Rounds, below: Rounds, cost: str) -> Interval | None:
    """Of one cost over the rounds that both have; None without any."""
    pairs = [pair for pair in above if cost in above[pair] and cost in below.get(pair, {})]
    return ratio_interval([above[p][cost] for p in pairs], [below[p][cost] for p in pairs]) if pairs else None


def gains(minuend: Rounds, subtrahend: Rounds) -> Interval | None:
    """Of the loss, over the rounds that both have; None without any."""
    pairs = [pair for pair in minuend if pair in subtrahend]
    if not pairs:
        return None
    return difference_interval([minuend[p]["loss"] for p in pairs], [subtrahend[p]["loss"] for p in pairs])


def _variant(
    plan: Plan,
    trials: Sequence[Trial],
    variant: str,
    measured: Mapping[str, Rounds],
    refused: Mapping[str, str],
) -> Variant:
    first, to_loss = next(iter(plan.variants)), plan.goal.loss is not None
    mine = measured[variant]
    sizes = [trial.outcome.parameters for trial in trials if trial.variant == variant and not trial.failed]
    means = {cost: geometric_interval(values) for cost in COSTS if (values := _column(mine, cost))}
    amortised = {}
    if to_loss and any(_parents_cost(trials, each) for each in (first, variant)):
        for targets in TARGETS:
            base, shared = (measures(plan.goal, trials, each, refused, targets) for each in (first, variant))
            amortised[targets] = _saved(base, shared)
    return Variant(
        name=variant,
        spec=resolved(plan.variants[variant]),
        parameters=max(sizes, default=0),
        loss=_loss(plan.goal, trials, variant),
        reached=means if to_loss else {},
        spent=means if not to_loss else {},
        saved=_saved(measured[first], mine) if to_loss else {},
        amortised=amortised,
        gained=None if to_loss else gains(measured[first], mine),
        refused=refused.get(variant, ""),
    )


def _saved(first: Rounds, mine: Rounds) -> dict[str, Interval]:
    return {cost: ratio for cost in COSTS if (ratio := ratios(first, mine, cost))}


def _parents_cost(trials: Sequence[Trial], variant: str) -> Mapping[str, float]:
    """What the parent runs of a variant cost, which is the same in all its trainings."""
    costs = (trial.outcome.parents_cost for trial in trials if trial.variant == variant)
    return next(filter(None, costs), {})


def _costs(trial: Trial) -> dict[str, float]:
    """Those that were measured."""
    return {cost: trial.cost(cost) for cost in COSTS if trial.cost(cost) > 0}


def _column(mine: Rounds, cost: str) -> list[float]:
    """One cost in the rounds that have it."""
    return [each[cost] for each in mine.values() if cost in each]


def _loss(goal: Goal, trials: Sequence[Trial], variant: str) -> Interval:
    """At the largest budget that every round has; without any round, of the search."""
    done = [trial for trial in trials if not trial.failed]
    by_round = list(rounds(done, variant).values())
    if by_round:
        common = set.intersection(*({trial.steps for trial in each} for each in by_round))
        largest = [
            next(trial for trial in each if trial.steps == max(common)) if common else each[-1]
            for each in by_round
        ]
        return mean_interval([goal.loss_of(trial) for trial in largest])
    searched = [trial for trial in done if trial.variant == variant]
    if not searched:
        return Interval(math.nan, -math.inf, math.inf, 0)
    return mean_interval([goal.loss_of(max(searched, key=lambda trial: trial.steps))])


def thrown_out(trials: Sequence[Trial]) -> int:
    """How many rounds in a journal do not count."""
    count, seen = 0, set[tuple[int, str, int]]()
    for trial in trials:
        key = (trial.pair, trial.variant, trial.steps)
        if not trial.kept and trial.pair >= 0:
            if key in seen or all(pair != trial.pair for pair, _, _ in seen):
                count, seen = count + 1, set()
            seen.add(key)
    return count
