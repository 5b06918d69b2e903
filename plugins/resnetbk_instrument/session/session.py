"""The engine of a comparison: who trains when, with which seed, and what counts.

Read `Session.run` first. In a round every arm trains with the same seed, and arms take turns in the order
ABBA, so that a machine that slowly changes harms all alike; what changes fast is seen by looks at the
machine's speed around each training, and the round is repeated. All decisions follow from the journal, so
that a comparison that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from resnetbk.errors import NumericError, UserError
from resnetbk_instrument.results.comparison import FAILED, Trial
from resnetbk_instrument.session.budget import AtBudget
from resnetbk_instrument.session.calibration import moved
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.plan import Plan, Progress, Train
from resnetbk_instrument.session.search import ToLoss, Unequal

WARM_UP = 3
"""Steps that each arm trains before anything counts: threads, caches and compilers get ready."""


class Aim(Protocol):
    """What decides on budgets: ToLoss or AtBudget. Pure functions of the journal."""

    def search(self, arm: str, get: Callable[[int], Trial]) -> None: ...
    def budgets(self, arm: str, pair: int) -> tuple[int, ...]: ...
    def more(self, arm: str, pair: int) -> int | None: ...
    def fault(self, pair: int) -> str: ...


class Session:
    """One comparison being made.

    refused  arms that cannot be held to the goal, and why
    """

    def __init__(
        self,
        plan: Plan,
        train: Train,
        calibrate: Callable[[], float],
        journal: Journal,
        watch: Callable[[Progress], None] = lambda progress: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.plan, self.train, self.calibrate, self.journal = plan, train, calibrate, journal
        self.watch, self.say = watch, say
        self.refused: dict[str, str] = {}
        self.first = next(iter(plan.arms))
        self.aim: Aim = (
            ToLoss(plan.goal, journal, self.own, plan.reach)
            if plan.goal.loss is not None
            else AtBudget(plan.goal, journal, self.own, tuple(plan.arms))
        )
        self._speed: float | None = None  # as it was just now; None when time has passed since
        self._seen: float | None = None  # as it was when last looked at
        self._warm = False
        self._fault = ""
        self._walls: dict[str, float] = {}  # seconds a step, all in, as it passes for who waits

    def run(self) -> None:
        """Makes the comparison; the journal then holds it. Raises UserError when it tells nothing."""
        for arm in self.plan.arms:
            self._search(arm)
        repeats = 0
        for pair in range(self.plan.pairs):
            while self._round(pair):
                repeats += 1
                if repeats > self.plan.pairs:
                    break
        if not any(trial.pair >= 0 and trial.kept for trial in self.journal.trials) and self._standing():
            raise UserError(
                f"no round counts; the last was thrown out because {self._fault}: let nothing else run here "
                f"or allow for more with --tolerance, and go on with --resume; or train longer"
            )

    def own(self, arm: str) -> int:
        """The steps of an arm's spec; where it says seconds, those that a short training lets expect."""
        train = self.plan.arms[arm].train
        if train.steps is not None:
            return train.steps
        assert train.seconds is not None
        probe = self._get("search", arm, -1, 30)
        return max(1, round(probe.steps * train.seconds / probe.cost("seconds")))

    # ------------------------------------------------------------ before the rounds

    def _warm_up(self) -> None:
        for spec in self.plan.arms.values():
            with contextlib.suppress(NumericError):  # it will be met again, where it is noted
                self.train(spec, self.plan.seed(-1), WARM_UP)
        self._warm, self._speed = True, None

    def _search(self, arm: str) -> None:
        self._speed = None
        try:
            self.aim.search(arm, lambda steps: self._get("search", arm, -1, steps))
        except Unequal as reason:
            self._refuse(arm, str(reason))

    def _refuse(self, arm: str, reason: str) -> None:
        if self.plan.goal.equal and arm == self.first:
            raise UserError(f"{arm}: {reason}; there is nothing to hold the other arms against")
        self.refused[arm] = reason
        self.say(f"{arm}: {reason}")

    def _standing(self) -> list[str]:
        return [arm for arm in self.plan.arms if arm not in self.refused]

    # ------------------------------------------------------------ a round

    def _round(self, pair: int) -> bool:
        """Makes a round, or finds it in the journal. Whether it was thrown out."""
        began = bool(self.journal.kept(pair))
        try:
            self._trainings(pair, found=began)
        except LookupError:  # it was interrupted; its pairs are not of one time
            self.journal.throw_out(pair)
            self._trainings(pair, found=False)
        if any(trial.pair > pair for trial in self.journal.trials):
            return False  # a later one began, so this one was accepted
        speeds = [speed for trial in self.journal.kept(pair) for speed in trial.speed]
        if not speeds:
            return False
        fault = self.aim.fault(pair)
        if moved(speeds, self.plan.tolerance):
            fault = f"the machine's speed changed by {max(speeds) / min(speeds) - 1:.0%}"
        if fault:
            self._fault = fault
            self.journal.throw_out(pair)
            self.say(f"round {pair + 1} is thrown out: {fault}")
        return bool(fault)

    def _trainings(self, pair: int, *, found: bool) -> None:
        """All of a round: smaller budgets in one order, larger ones in the other. Raises LookupError when
        they should all be `found` and one is not."""
        stage = f"round {pair + 1}/{self.plan.pairs}"
        self._speed = None
        arms = self._standing()[:: -1 if pair % 2 else 1]
        budgets = {arm: self.aim.budgets(arm, pair) for arm in arms}
        for place in range(max(map(len, budgets.values()), default=0)):
            for arm in arms if place % 2 == 0 else reversed(arms):
                if place < len(budgets[arm]):
                    self._held(stage, arm, pair, budgets[arm][place], found)
        for arm in arms:
            while (steps := self._more(arm, pair)) is not None:
                self._held(stage, arm, pair, steps, found)

    def _held(self, stage: str, arm: str, pair: int, steps: int, found: bool) -> None:
        if arm not in self.refused:
            try:
                self._get(stage, arm, pair, steps, found)
            except Unequal as reason:
                self._refuse(arm, str(reason))

    def _more(self, arm: str, pair: int) -> int | None:
        if arm in self.refused:
            return None
        try:
            return self.aim.more(arm, pair)
        except Unequal as reason:
            self._refuse(arm, str(reason))
            return None

    # ------------------------------------------------------------ a training

    def _get(self, stage: str, arm: str, pair: int, steps: int, found: bool = False) -> Trial:
        """The training in the journal, or made now. Raises Unequal when it came to no loss."""
        known = (trial for trial in self.journal.of(arm, pair) if trial.steps == steps)
        trial = next(known, None)
        if trial is None:
            if found:
                raise LookupError(f"{arm} at {steps} steps")
            trial = self._trained(stage, arm, pair, steps)
        if trial.failed:
            raise Unequal(trial.failed)
        return trial

    def _trained(self, stage: str, arm: str, pair: int, steps: int) -> Trial:
        if not self._warm:
            self._warm_up()
        before = self._speed or self._look()
        seed = self.plan.seed(pair)
        self.watch(Progress(stage=stage, arm=arm, steps=steps, left=self._left(pair)))
        started, failed = time.monotonic(), ""
        try:
            outcome = self.train(self.plan.arms[arm], seed, steps)
        except NumericError as error:
            reason = str(error).partition(";")[0]  # then comes where the weights are, which go
            failed = f"diverges at seed {seed}, {steps} steps: {' '.join(reason.split())}"
            outcome = FAILED
        self._speed = self._look()
        known = [trial.outcome for trial in self.journal.trials if trial.arm == arm and not trial.failed]
        if not failed and any(other.parents_cost != outcome.parents_cost for other in known):
            raise UserError(
                f"{arm}: a run that it starts from or chooses its data by has been trained anew since this "
                "comparison began; begin another"
            )
        self._walls[arm] = (time.monotonic() - started) / steps
        trial = Trial(
            arm=arm,
            pair=pair,
            seed=seed,
            steps=steps,
            outcome=outcome,
            speed=(before, self._speed),
            failed=failed,
        )
        self.journal.add(trial)
        self.watch(Progress(stage=stage, arm=arm, steps=steps, trial=trial, left=self._left(pair)))
        return trial

    def _look(self) -> float:
        """The machine's speed now. A look that differs from the last may be off by itself, after minutes of
        training; then the median of three counts."""
        look = self.calibrate()
        if self._seen is None or moved((self._seen, look), self.plan.tolerance):
            look = statistics.median((look, self.calibrate(), self.calibrate()))
        self._seen = look
        return look

    def _left(self, pair: int) -> float | None:
        """Seconds until the end: of this round what is not done, and all that come after."""
        if pair < 0:
            return None
        total = 0.0
        for arm in self._standing():
            a_round = sum(self.aim.budgets(arm, pair)) * self._walls.get(arm, 0.0)
            done = sum(trial.steps for trial in self.journal.of(arm, pair)) * self._walls.get(arm, 0.0)
            total += max(0.0, a_round - done) + a_round * (self.plan.pairs - pair - 1)
        return total


def thrown_out(trials: Sequence[Trial]) -> int:
    """How many rounds in a journal do not count."""
    count, seen = 0, set[tuple[int, str, int]]()
    for trial in trials:
        key = (trial.pair, trial.arm, trial.steps)
        if not trial.kept and trial.pair >= 0:
            if key in seen or all(pair != trial.pair for pair, _, _ in seen):
                count, seen = count + 1, set()
            seen.add(key)
    return count
