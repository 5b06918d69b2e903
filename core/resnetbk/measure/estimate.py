"""How long a comparison will take, from a few steps of each arm."""

from __future__ import annotations

import time

import attrs

from resnetbk.measure.compare import WARM_UP
from resnetbk.measure.plan import Plan, Train

SHORT, LONG = 3, 13
"""Steps of the two trainings that tell what each step takes from what each training takes besides."""

SEARCHED = 3
"""Trainings that a search for a loss takes when the arm's own steps are about right."""


@attrs.frozen
class Expected:
    """For one arm: its own steps (None when it says seconds), wall seconds a step and for each training
    besides (reading the text, set-up, evaluation), trainings, and seconds for all at its own steps."""

    arm: str
    steps: int | None
    each: float
    besides: float
    trainings: int
    seconds: float


def estimate(plan: Plan, train: Train) -> list[Expected]:
    """Trains each arm for a moment. At equal seconds every arm is taken to train as long as the first."""
    found: list[Expected] = []
    first_wall = plan.goal.budget or 0.0
    trainings = plan.pairs * 2 + SEARCHED if plan.goal.loss is not None else plan.pairs
    for arm, spec in plan.arms.items():
        train(spec, plan.seed(-1), WARM_UP)
        walls = []
        for steps in (SHORT, LONG):
            start = time.perf_counter()
            train(spec, plan.seed(-1), steps)
            walls.append(time.perf_counter() - start)
        each = max(walls[1] - walls[0], 0.0) / (LONG - SHORT) or walls[1] / LONG
        besides = max(0.0, walls[0] - SHORT * each)
        wall = (spec.train.steps or 0) * each or spec.train.seconds or 0.0
        first_wall = first_wall or wall
        seconds = trainings * ((first_wall if plan.goal.equal == "seconds" else wall) + besides)
        found.append(Expected(arm, spec.train.steps, each, besides, trainings, seconds))
    return found
