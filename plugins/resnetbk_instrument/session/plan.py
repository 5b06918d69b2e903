"""What a comparison is asked to do, and what it is handed: specs, seeds, and a way to train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs

from resnetbk.spec.spec import Spec
from resnetbk_instrument.results.comparison import Goal, Outcome, Trial
from resnetbk_instrument.session.calibration import TOLERANCE

PAIRS, REACH = 5, 8.0
"""Of a plan that says no other."""

WARMING = "warm-up"
"""The stage before anything counts, in which a variant compiles."""


Train = Callable[[Spec, int, int], Outcome]
"""(spec, seed, steps) -> outcome of a training that decays over these steps. Raises NumericError."""

Rounds = Callable[[int, Mapping[str, str]], Sequence[Trial]]
"""(round, variants refused so far and why) -> its trainings, all made on one machine; -1 is the search."""


class BudgetPolicy(Protocol):
    """What decides on budgets: ToLoss or AtBudget. Pure functions of the journal.

    timed   whether the goal is about time, so that a round in which the machine moved says nothing
    probes  steps of the trainings that `search` makes of every variant, whatever they show
    """

    timed: bool
    probes: tuple[int, ...]

    def search(self, variant: str, get: Callable[[int], Trial]) -> None: ...
    def budgets(self, variant: str, pair: int) -> tuple[int, ...]: ...
    def more(self, variant: str, pair: int) -> int | None: ...
    def fault(self, pair: int) -> str: ...


@attrs.frozen(kw_only=True)
class Plan:
    """What is asked for.

    variants   specs by name; the first is the baseline
    pairs      rounds that are to count
    reach      how many times its own steps a variant may train to reach the loss
    tolerance  by what share the machine's speed may change within a round
    """

    name: str
    variants: Mapping[str, Spec]
    goal: Goal
    pairs: int = PAIRS
    reach: float = REACH
    tolerance: float = TOLERANCE

    def seed(self, pair: int) -> int:
        """The baseline's own plus the number of the round; the search has one far from them."""
        first = next(iter(self.variants.values())).seed
        return (first + (pair if pair >= 0 else 1_000_003)) % 2**63


@attrs.frozen(kw_only=True)
class Progress:
    """What a session does now: `trial` is None when a training begins, and then its result.

    left  seconds until the end if all goes on like this; None while nobody knows
    """

    stage: str
    variant: str
    steps: int
    trial: Trial | None = None
    left: float | None = None
