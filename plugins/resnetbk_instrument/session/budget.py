"""Equal budgets: how many steps of each arm cost what the first arm may spend.

Short trainings give a first guess. Then every round shows what a step of an arm costs beside one of the
first arm, at the same time on the same machine; the median of these ratios is what steps are set by, and a
round whose arms are found to differ by more than 5 % is repeated with better steps.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import attrs

from resnetbk.errors import UserError
from resnetbk_instrument.results.comparison import Goal, Trial
from resnetbk_instrument.results.costs import COSTS
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.search import SMALLEST

TOLERANCE = 0.05
"""By what share of the budget arms may differ."""

PROBES = (10, 30)
"""Steps of the two short trainings that tell set-up from steps."""


@attrs.frozen
class Line:
    """What a training costs: its set-up, and each step."""

    set_up: float
    each: float

    @classmethod
    def through(cls, low: float, high: float) -> Line:
        """By what trainings of PROBES cost."""
        few, many = PROBES
        each = (high - low) / (many - few)
        if each <= 0:  # noise is larger than what it should be told from
            each = high / many
        return cls(max(0.0, low - each * few), each)

    def cost(self, steps: int) -> float:
        return self.set_up + self.each * steps

    def steps(self, budget: float) -> int:
        """What a budget buys."""
        return max(0, round((budget - self.set_up) / self.each))


def enough(goal: Goal, arms: Sequence[str], arm: str, steps: int) -> None:
    """Raises UserError when the steps that the budget buys of an arm are too few to say anything."""
    if steps < SMALLEST:
        what = "--budget" if goal.budget is not None else f"what {arms[0]} spends by its own spec"
        raise UserError(
            f"{what} buys {steps} steps of {arm}; {SMALLEST} are the least that say anything, so give a "
            f"larger --budget"
        )


class AtBudget:
    """The budgets of a comparison at equal cost: a pure function of what the journal holds."""

    def __init__(
        self, goal: Goal, journal: Journal, own: Callable[[str], int], arms: tuple[str, ...]
    ) -> None:
        """own gives the steps of an arm's spec, which the first arm spends unless the goal has a budget."""
        assert goal.equal is not None
        self.goal, self.journal, self.own, self.arms, self.cost = goal, journal, own, arms, goal.equal

    def search(self, arm: str, get: Callable[[int], Trial]) -> None:
        """Trains briefly. Raises UserError for a budget too small to say anything."""
        for steps in PROBES:
            get(steps)
        enough(self.goal, self.arms, arm, self._guess(arm))

    def budgets(self, arm: str, pair: int) -> tuple[int, ...]:
        """What the round was begun with; for a new one, the steps used last unless they were found wrong."""
        here = self.journal.of(arm, pair)
        return (here[0].steps if here else self._corrected(arm),)

    def more(self, arm: str, pair: int) -> int | None:
        return None

    def fault(self, pair: int) -> str:
        """Which arm's spending is off in this round, by all that is known of what its steps cost."""
        steps = {trial.arm: trial.steps for trial in self.journal.kept(pair) if not trial.failed}
        for arm in steps:
            spent = self._share(arm, steps[arm], steps[self.arms[0]])
            if abs(spent - 1) > TOLERANCE:
                return f"{arm} spends {spent:.2f} of the budget"
        return ""

    # ------------------------------------------------------------ what steps cost

    def _corrected(self, arm: str) -> int:
        """Steps for the next round. The first arm goes first, the others follow it."""
        used = [found[arm].steps for found in self._rounds() if arm in found]
        if not used:
            return self._guess(arm)
        leader = used[-1] if arm == self.arms[0] else self._corrected(self.arms[0])
        share = self._share(arm, used[-1], leader)
        return max(1, round(used[-1] / share))

    def _share(self, arm: str, steps: int, leader: int) -> float:
        """Of the budget, what `steps` of an arm are expected to spend beside `leader` steps of the first arm.

        A budget in seconds is what the first arm needs at the same time: the clock of a machine that slows
        down is no yardstick. One in FLOPs or tokens is a number.
        """
        first, rounds = self.arms[0], self._rounds()
        if arm == first:
            if self.goal.budget is None or not COSTS[self.cost].exact:
                return 1.0
            return (
                statistics.median(self._each(r[first]) for r in rounds if first in r)
                * steps
                / self.goal.budget
            )
        ratios = (self._each(r[arm]) / self._each(r[first]) for r in rounds if arm in r and first in r)
        return statistics.median(ratios) * steps / leader

    def _each(self, trial: Trial) -> float:
        return trial.cost(self.cost) / trial.steps

    def _rounds(self) -> list[dict[str, Trial]]:
        """What each round, also one thrown out, showed of each arm; in order."""
        found: list[dict[str, Trial]] = []
        pair = -1
        for trial in self.journal.trials:
            if trial.pair < 0 or trial.failed:
                continue
            if not found or trial.pair != pair or trial.arm in found[-1]:
                found.append({})
                pair = trial.pair
            found[-1][trial.arm] = trial
        return found

    # ------------------------------------------------------------ before the first round

    def _guess(self, arm: str) -> int:
        """From the short trainings."""
        first, budget = self.arms[0], self.goal.budget
        if budget is None:
            budget = self._line(first).cost(self.own(first))
        return self._line(arm).steps(budget)

    def _line(self, arm: str) -> Line:
        known = {trial.steps: trial.cost(self.cost) for trial in self.journal.of(arm, -1)}
        return Line.through(*(known[steps] for steps in PROBES))
