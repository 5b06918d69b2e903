"""Equal budgets: how many steps of each variant cost what the baseline may spend.

Short trainings give a first guess. Then every round shows what a step of a variant costs beside one of the
baseline, at the same time on the same machine; the median of these ratios is what steps are set by, and a
round whose variants differ by more than 5 % is repeated with better steps.
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
"""By what share of the budget variants may differ."""

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


def enough(goal: Goal, variants: Sequence[str], variant: str, steps: int) -> None:
    """Raises UserError when the steps that the budget buys of a variant are too few to say anything."""
    if steps < SMALLEST:
        what = "--budget" if goal.budget is not None else f"what {variants[0]} spends by its own spec"
        raise UserError(
            f"{what} buys {steps} steps of {variant}; {SMALLEST} are the least that say anything, so give a "
            f"larger --budget"
        )


class AtBudget:
    """The budgets of a comparison at equal cost: a pure function of what the journal holds."""

    probes: tuple[int, ...] = PROBES

    def __init__(
        self, goal: Goal, journal: Journal, own: Callable[[str], int], variants: tuple[str, ...]
    ) -> None:
        """own gives the steps of a spec, which the baseline spends unless the goal has a budget."""
        assert goal.equal is not None
        self.goal, self.journal, self.own, self.variants, self.cost = goal, journal, own, variants, goal.equal
        self.timed = not COSTS[self.cost].exact

    def search(self, variant: str, get: Callable[[int], Trial]) -> None:
        """Trains briefly. Raises UserError for a budget too small to say anything."""
        for steps in PROBES:
            get(steps)
        enough(self.goal, self.variants, variant, self._guess(variant))

    def budgets(self, variant: str, pair: int) -> tuple[int, ...]:
        """What the round was begun with; for a new one, the steps used last unless they were wrong."""
        here = self.journal.of(variant, pair)
        return (here[0].steps if here else self._corrected(variant),)

    def more(self, variant: str, pair: int) -> int | None:
        return None

    def fault(self, pair: int) -> str:
        """Which variant's spending is off in this round, by all that is known of what its steps cost."""
        steps = {trial.variant: trial.steps for trial in self.journal.of_round(pair) if not trial.failed}
        for variant in steps:
            spent = self._share(variant, steps[variant], steps[self.variants[0]])
            if abs(spent - 1) > TOLERANCE:
                return f"{variant} spends {spent:.2f} of the budget"
        return ""

    # ------------------------------------------------------------ what steps cost

    def _corrected(self, variant: str) -> int:
        """Steps for the next round. The baseline goes first, the others follow it."""
        used = [of_round[variant].steps for of_round in self._rounds() if variant in of_round]
        if not used:
            return self._guess(variant)
        leader = used[-1] if variant == self.variants[0] else self._corrected(self.variants[0])
        share = self._share(variant, used[-1], leader)
        return max(1, round(used[-1] / share))

    def _share(self, variant: str, steps: int, leader: int) -> float:
        """Of the budget, what `steps` of a variant should spend beside `leader` steps of the baseline.

        A budget in seconds is what the baseline needs at the same time: the clock of a machine that slows
        down is no yardstick. One in FLOPs or tokens is a number.
        """
        first, rounds = self.variants[0], self._rounds()
        if variant == first:
            if self.goal.budget is None or not COSTS[self.cost].exact:
                return 1.0
            return (
                statistics.median(self._each(r[first]) for r in rounds if first in r)
                * steps
                / self.goal.budget
            )
        ratios = (
            self._each(r[variant]) / self._each(r[first]) for r in rounds if variant in r and first in r
        )
        return statistics.median(ratios) * steps / leader

    def _each(self, trial: Trial) -> float:
        return trial.cost(self.cost) / trial.steps

    def _rounds(self) -> list[dict[str, Trial]]:
        """What each round, also one thrown out, showed of each variant; in order."""
        rounds: list[dict[str, Trial]] = []
        pair = -1
        for trial in self.journal.trials:
            if trial.pair < 0 or trial.failed:
                continue
            if not rounds or trial.pair != pair or trial.variant in rounds[-1]:
                rounds.append({})
                pair = trial.pair
            rounds[-1][trial.variant] = trial
        return rounds

    # ------------------------------------------------------------ before the first round

    def _guess(self, variant: str) -> int:
        """From the short trainings."""
        first, budget = self.variants[0], self.goal.budget
        if budget is None:
            budget = self._line(first).cost(self.own(first))
        return self._line(variant).steps(budget)

    def _line(self, variant: str) -> Line:
        known = {trial.steps: trial.cost(self.cost) for trial in self.journal.of(variant, -1)}
        return Line.through(*(known[steps] for steps in PROBES))
