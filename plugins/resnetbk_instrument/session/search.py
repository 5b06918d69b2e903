"""Equal quality: the budget at which a variant's own decayed schedule ends at the loss asked for.

Every training decays to its end, so a loss belongs to a budget in steps. Near the goal it falls linearly in
the logarithm of steps. The slope is taken from all rounds and the search together, because in one round it is
mostly noise; where a round reaches the loss is its own, and the interval consists of those.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from resnetbk.errors import UserError
from resnetbk_instrument.results.comparison import Goal, Trial
from resnetbk_instrument.results.costs import COSTS
from resnetbk_instrument.session.journal import Journal

SMALLEST = 10
"""Steps in the smallest budget that is tried: below it a training says nothing of a spec."""

SPREAD = 2**0.25
"""The two budgets of a round are so much below and above the result of the search."""

EXTRAPOLATION = 1.5
"""How far from the middle of a round's two budgets the goal may lie, in their distance: one beyond each."""


class Unequal(Exception):
    """A variant does not reach the goal; the message says why, in one line."""


class ToLoss:
    """The budgets of a comparison whose goal is a loss: a pure function of what the journal holds."""

    timed = True
    probes: tuple[int, ...] = ()  # each training depends on the one before

    def __init__(self, goal: Goal, journal: Journal, own: Callable[[str], int], reach: float) -> None:
        """own gives the steps of a variant's spec; a variant may have `reach` times as many."""
        self.goal, self.journal, self.own, self.reach = goal, journal, own, reach

    def search(self, variant: str, get: Callable[[int], Trial]) -> None:
        """Trains at budgets that halve or double until two of them bracket the loss.

        Raises Unequal when it is out of reach, UserError when every training reaches it.
        """
        assert self.goal.loss is not None
        cap = self._cap(variant)
        trial = get(self.own(variant))
        reached = self.goal.loss_of(trial) <= self.goal.loss
        while (self.goal.loss_of(trial) <= self.goal.loss) == reached:
            if reached and trial.steps <= SMALLEST:
                asked, less = f"--target-loss {self.goal.loss:g}", "a lower loss"
                if self.goal.unit == "error rate":
                    asked, less = (
                        f"--target-accuracy {1 - self.goal.loss:g}",
                        "more, or for a task that is harder",
                    )
                raise UserError(
                    f"{asked}: {variant} is at {self.goal.loss_of(trial):.4f} {self.goal.unit} after "
                    f"{trial.steps} steps; ask for {less}"
                )
            if not reached and trial.steps >= cap:
                best = min(self.goal.loss_of(t) for t in self.journal.of(variant, -1))
                raise Unequal(
                    f"does not reach {self.goal.loss:g} {self.goal.unit}: its best is {best:.4f}, within "
                    f"{trial.steps:,} steps"
                )
            trial = get(max(SMALLEST, trial.steps // 2) if reached else min(cap, trial.steps * 2))

    def budgets(self, variant: str, pair: int) -> tuple[int, ...]:
        """The two around the budget at which the search crosses the loss."""
        assert self.goal.loss is not None
        below, above = bracket(self.journal.of(variant, -1), self.goal)
        slope = fall([[below, above]], self.goal)
        middle = math.exp(_middle(below, above) + beyond(below, above, self.goal, slope))
        small = max(1, round(middle / SPREAD))
        return small, max(small + 1, round(middle * SPREAD))

    def more(self, variant: str, pair: int) -> int | None:
        """One budget further out, when this round's do not show where the loss is reached.

        Raises Unequal when that is out of reach.
        """
        trials = self.journal.of(variant, pair)
        tried = {trial.steps for trial in trials}
        until = [trial for trial in self.journal.trials if trial.pair <= pair]  # as when it was first asked
        slope = fall(_groups(until, variant, self.goal), self.goal)
        if slope <= 0:
            raise Unequal(f"its loss does not fall with more steps near {self.goal.loss:g} {self.goal.unit}")
        below, above = nearest(trials, self.goal)
        distance = math.log(above.steps / below.steps)
        offset = beyond(below, above, self.goal, slope)
        if abs(offset) <= EXTRAPOLATION * distance:
            return None
        if offset < 0:
            further = round(below.steps * math.exp(-distance))
            return further if further > 0 and further not in tried else None
        if above.steps >= self._cap(variant) * SPREAD:
            raise Unequal(
                f"does not reach {self.goal.loss:g} {self.goal.unit} in round {pair + 1}: it is at "
                f"{self.goal.loss_of(above):.4f} after {above.steps:,} steps"
            )
        further = max(above.steps + 1, round(above.steps * math.exp(distance)))
        return further if further not in tried else None

    def fault(self, pair: int) -> str:
        return ""

    def _cap(self, variant: str) -> int:
        return max(SMALLEST, round(self.own(variant) * self.reach))


def reached(trials: Sequence[Trial], variant: str, goal: Goal) -> dict[int, dict[str, float]]:
    """For each round that counts, the costs at which `variant` reached the goal's loss."""
    slope = fall(_groups(trials, variant, goal), goal)
    return {
        pair: _costs(*nearest(round_trials, goal), goal, slope)
        for pair, round_trials in rounds(trials, variant).items()
    }


def rounds(trials: Sequence[Trial], variant: str) -> dict[int, list[Trial]]:
    """The trainings of a variant in each round that counts, by steps."""
    by_round: dict[int, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: (trial.pair, trial.steps)):
        if trial.variant == variant and trial.pair >= 0 and trial.kept:
            by_round.setdefault(trial.pair, []).append(trial)
    return by_round


def bracket(trials: Sequence[Trial], goal: Goal) -> tuple[Trial, Trial]:
    """Neighbours in steps, the first above the goal's loss and the second not. ValueError without any."""
    assert goal.loss is not None
    ordered = sorted(trials, key=lambda trial: trial.steps)
    for below, above in itertools.pairwise(ordered):
        if goal.loss_of(above) <= goal.loss < goal.loss_of(below):
            return below, above
    raise ValueError("no two trainings bracket the loss")


def nearest(trials: Sequence[Trial], goal: Goal) -> tuple[Trial, Trial]:
    """Neighbours in steps whose mean loss is nearest to the goal's."""
    assert goal.loss is not None
    target = goal.loss
    ordered = sorted(trials, key=lambda trial: trial.steps)
    return min(
        itertools.pairwise(ordered),
        key=lambda two: abs((goal.loss_of(two[0]) + goal.loss_of(two[1])) / 2 - target),
    )


def fall(groups: Sequence[Sequence[Trial]], goal: Goal) -> float:
    """By how much the loss falls when steps grow e-fold: least squares, each group having its own level."""
    covariance = variance = 0.0
    for trials in groups:
        x = [math.log(trial.steps) for trial in trials]
        y = [goal.loss_of(trial) for trial in trials]
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        covariance += sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
        variance += sum((a - mean_x) ** 2 for a in x)
    return -covariance / variance


def beyond(below: Trial, above: Trial, goal: Goal, slope: float) -> float:
    """From the middle between two budgets to the one that reaches the loss, in logarithms of steps."""
    assert goal.loss is not None
    return ((goal.loss_of(below) + goal.loss_of(above)) / 2 - goal.loss) / slope


def _groups(trials: Sequence[Trial], variant: str, goal: Goal) -> list[Sequence[Trial]]:
    """The rounds, and the two of the search that bracket the loss; those further off see another slope."""
    searched = [trial for trial in trials if trial.variant == variant and trial.pair < 0 and trial.kept]
    return [bracket(searched, goal), *rounds(trials, variant).values()]


def _middle(below: Trial, above: Trial) -> float:
    return math.log(below.steps * above.steps) / 2


def _costs(below: Trial, above: Trial, goal: Goal, slope: float) -> dict[str, float]:
    """Each cost at the loss, linear in logarithms of cost and steps; without costs that were not measured."""
    share = beyond(below, above, goal, slope) / math.log(above.steps / below.steps)
    costs = {}
    for cost in COSTS:
        low, high = below.cost(cost), above.cost(cost)
        if low > 0 and high > 0:
            costs[cost] = math.sqrt(low * high) * (high / low) ** share
    return costs
