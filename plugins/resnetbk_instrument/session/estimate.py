"""How long a comparison will take, from a few steps of each variant."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from resnetbk.errors import NumericError
from resnetbk_instrument.results.comparison import Outcome
from resnetbk_instrument.session.budget import PROBES, Line, enough
from resnetbk_instrument.session.plan import WARMING, Plan, Progress, Train
from resnetbk_instrument.session.session import WARM_UP

SEARCHED = 3
"""Trainings that a search for a loss takes when the variant's own steps are about right."""


@attrs.frozen(kw_only=True)
class VariantEstimate:
    """For one variant: the steps of a training, which are its own or, at equal budgets, those that the budget
    buys; wall seconds a step and for each training besides (reading the text, set-up, evaluation); trainings,
    and seconds for all of them."""

    variant: str
    steps: int
    each: float
    besides: float
    trainings: int
    seconds: float


def estimate(
    plan: Plan, train: Train, watch: Callable[[Progress], None] = lambda progress: None
) -> list[VariantEstimate]:
    """Trains each variant for a moment, as `watch` is told. Raises UserError for a budget too small to say
    anything, NumericError for a variant that diverges at once."""
    estimates: list[VariantEstimate] = []
    trainings = plan.pairs * 2 + SEARCHED if plan.goal.loss is not None else plan.pairs
    goal, budget = plan.goal, plan.goal.budget
    for variant, spec in plan.variants.items():
        watch(Progress(stage=WARMING, variant=variant, steps=WARM_UP))
        _trained(variant, plan, train, WARM_UP)
        walls, outcomes = [], []
        for probe in PROBES:
            watch(Progress(stage="estimate", variant=variant, steps=probe))
            start = time.perf_counter()
            outcomes.append(_trained(variant, plan, train, probe))
            walls.append(time.perf_counter() - start)
        seconds = spec.train.seconds or 0.0
        steps = spec.train.steps or max(1, round(PROBES[-1] * seconds / outcomes[-1].costs["seconds"]))
        if goal.equal:
            line = Line.through(*(outcome.costs[goal.equal] for outcome in outcomes))
            budget = line.cost(steps) if budget is None else budget
            steps = line.steps(budget)
            enough(goal, tuple(plan.variants), variant, steps)
        wall = Line.through(*walls)
        estimates.append(
            VariantEstimate(
                variant=variant, steps=steps, each=wall.each, besides=wall.set_up, trainings=trainings,
                seconds=trainings * wall.cost(steps),
            )
        )  # fmt: skip
    return estimates


def _trained(variant: str, plan: Plan, train: Train, steps: int) -> Outcome:
    try:
        return train(plan.variants[variant], plan.seed(-1), steps)
    except NumericError as error:
        reason = str(error).partition(";")[0]  # then comes where the weights are, which go
        raise NumericError(f"{variant}: diverges within {steps} steps: {reason}") from None
