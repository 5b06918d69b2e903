"""The engine of a comparison: who trains when, with which seed, and what counts.

Read `Session.run` first. In a round every variant trains with the same seed, and variants take turns in the
order ABBA, so that a machine that slowly changes harms all alike; what changes fast is seen by calibrations
before and after each training, and the round is repeated. All decisions follow from the journal, so that a
comparison that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Sequence

from resnetbk.errors import NumericError, UserError
from resnetbk.spec.spec import Spec
from resnetbk_instrument.results.comparison import FAILED, Trial
from resnetbk_instrument.session.budget import AtBudget
from resnetbk_instrument.session.calibration import moved
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.plan import WARMING, BudgetPolicy, Plan, Progress, Rounds, Train
from resnetbk_instrument.session.search import ToLoss, Unequal

WARM_UP = 4
"""Steps that each variant trains before anything counts: threads, caches and compilers get ready. FLOPs are
counted in the first three; the fourth compiles."""


class Session:
    """A comparison under way.

    calibrate  None where trainings are elsewhere: then no seconds count, and nothing warms up
    ahead      is told of the trainings that come next, as `train` will be asked for them
    rounds     makes whole rounds, and the search, elsewhere, where `train` is not asked
    refused    variants that do not reach the goal, and why
    """

    def __init__(
        self,
        plan: Plan,
        train: Train,
        calibrate: Callable[[], float] | None,
        journal: Journal,
        watch: Callable[[Progress], None] = lambda progress: None,
        say: Callable[[str], None] = lambda line: None,
        ahead: Callable[[Sequence[tuple[Spec, int, int]]], None] = lambda trainings: None,
        rounds: Rounds | None = None,
    ) -> None:
        self.plan, self.train, self.calibrate, self.journal = plan, train, calibrate, journal
        self.watch, self.say, self.ahead, self.rounds = watch, say, ahead, rounds
        self.refused: dict[str, str] = {}
        self.first = next(iter(plan.variants))
        self.policy: BudgetPolicy = (
            ToLoss(plan.goal, journal, self.own, plan.reach)
            if plan.goal.loss is not None
            else AtBudget(plan.goal, journal, self.own, tuple(plan.variants))
        )
        self._speed: float | None = None  # as it was just now; None when time has passed since
        self._last_speed: float | None = None  # at the last calibration
        self._warm = calibrate is None
        self._fault = ""
        # for who waits: seconds a step, and for each training besides (its text, set-up, evaluation)
        self._walls: dict[str, tuple[float, float]] = {}

    def run(self) -> None:
        """Makes the comparison; the journal then holds it. Raises UserError when it tells nothing."""
        self._ahead((variant, -1, self.policy.probes) for variant in self.plan.variants)
        for variant in self.plan.variants:
            self._search(variant)
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

    def make(self, pair: int) -> list[Trial]:
        """The trainings that the journal lacks of the search, and of one round unless `pair` is -1: what a
        worker does of a session. Raises UserError."""
        known = len(self.journal.trials)
        for variant in self.plan.variants:
            self._search(variant)
        if pair >= 0:
            self._trainings(pair, recorded=False)
        return self.journal.trials[known:]

    def own(self, variant: str) -> int:
        """The steps of a variant's spec; where it says seconds, those that a short training lets expect."""
        train = self.plan.variants[variant].train
        if train.steps is not None:
            return train.steps
        assert train.seconds is not None
        probe = self._get("search", variant, -1, 30)
        return max(1, round(probe.steps * train.seconds / probe.cost("seconds")))

    # ------------------------------------------------------------ before the rounds

    def _warm_up(self) -> None:
        for variant, spec in self.plan.variants.items():
            self.watch(Progress(stage=WARMING, variant=variant, steps=WARM_UP))
            with contextlib.suppress(NumericError):  # it comes again, where it is noted
                self.train(spec, self.plan.seed(-1), WARM_UP)
        self._warm, self._speed = True, None

    def _search(self, variant: str) -> None:
        self._speed = None
        try:
            self.policy.search(variant, lambda steps: self._get("search", variant, -1, steps))
        except Unequal as reason:
            self._refuse(variant, str(reason))

    def _refuse(self, variant: str, reason: str) -> None:
        if self.plan.goal.equal and variant == self.first:
            raise UserError(f"{variant}: {reason}; there is no baseline for the other variants")
        self.refused[variant] = reason
        self.say(f"{variant}: {reason}")

    def _standing(self) -> list[str]:
        return [variant for variant in self.plan.variants if variant not in self.refused]

    # ------------------------------------------------------------ a round

    def _round(self, pair: int) -> bool:
        """Makes a round, or finds it in the journal. Whether it was thrown out."""
        began = bool(self.journal.of_round(pair))
        try:
            self._trainings(pair, recorded=began)
        except LookupError:  # it was interrupted; its pairs are not of one time
            self.journal.throw_out(pair)
            self._trainings(pair, recorded=False)
        if any(trial.pair > pair for trial in self.journal.trials):
            return False  # a later one began, so this one was accepted
        speeds = [speed for trial in self.journal.of_round(pair) for speed in trial.speed]
        if not speeds:
            return False
        fault = self.policy.fault(pair)
        if moved(speeds, self.plan.tolerance):
            change = f"the machine's speed changed by {max(speeds) / min(speeds) - 1:.0%}"
            if self.policy.timed:
                fault = change
            elif not fault:
                self.journal.untime(pair)
                self.say(f"round {pair + 1} counts, but not its seconds: {change}")
        if fault:
            self._fault = fault
            self.journal.throw_out(pair)
            self.say(f"round {pair + 1} is thrown out: {fault}")
        return bool(fault)

    def _trainings(self, pair: int, *, recorded: bool) -> None:
        """All of a round: smaller budgets in one order, larger ones in the other. Raises LookupError when
        they should all be `recorded` and one is not."""
        stage = f"round {pair + 1}/{self.plan.pairs}"
        self._speed = None
        if self.rounds and not recorded:
            self._receive(stage, pair)  # before budgets, which are those that it was begun with
            recorded = True
        variants = self._standing()[:: -1 if pair % 2 else 1]
        budgets = {variant: self.policy.budgets(variant, pair) for variant in variants}
        self._ahead((v, p, self.policy.budgets(v, p)) for p in range(pair, self.plan.pairs) for v in variants)
        for place in range(max(map(len, budgets.values()), default=0)):
            for variant in variants if place % 2 == 0 else reversed(variants):
                if place < len(budgets[variant]):
                    self._train_budget(stage, variant, pair, budgets[variant][place], recorded)
        for variant in variants:
            while (steps := self._more(variant, pair)) is not None and not self.rounds:  # it would be alone
                self._train_budget(stage, variant, pair, steps, recorded)

    def _train_budget(self, stage: str, variant: str, pair: int, steps: int, recorded: bool) -> None:
        if variant not in self.refused:
            try:
                self._get(stage, variant, pair, steps, recorded)
            except Unequal as reason:
                self._refuse(variant, str(reason))

    def _more(self, variant: str, pair: int) -> int | None:
        if variant in self.refused:
            return None
        try:
            return self.policy.more(variant, pair)
        except Unequal as reason:
            self._refuse(variant, str(reason))
            return None

    def _ahead(self, budgets: Iterable[tuple[str, int, tuple[int, ...]]]) -> None:
        """Tells of all trainings of (variant, round, steps) that are not in the journal."""
        self.ahead([
            (self.plan.variants[variant], self.plan.seed(pair), steps)
            for variant, pair, several in budgets
            for steps in several
            if steps not in {trial.steps for trial in self.journal.of(variant, pair)}
        ])  # fmt: skip

    # ------------------------------------------------------------ a training

    def _get(self, stage: str, variant: str, pair: int, steps: int, recorded: bool = False) -> Trial:
        """The training in the journal, or one now. Raises Unequal when it gave no loss."""
        known = (trial for trial in self.journal.of(variant, pair) if trial.steps == steps)
        trial = next(known, None)
        if trial is None:
            if recorded:
                raise LookupError(f"{variant} at {steps} steps")
            if self.rounds:
                self._receive(stage, pair)
                return self._get(stage, variant, pair, steps, recorded=True)
            trial = self._trained(stage, variant, pair, steps)
        if trial.failed:
            raise Unequal(trial.failed)
        return trial

    def _receive(self, stage: str, pair: int) -> None:
        """Waits for a round, or the search, from elsewhere; the journal then holds it."""
        assert self.rounds
        trials = self.rounds(pair, self.refused)
        self.journal.add(*trials)
        for trial in trials:
            self.watch(Progress(stage=stage, variant=trial.variant, steps=trial.steps, trial=trial))

    def _trained(self, stage: str, variant: str, pair: int, steps: int) -> Trial:
        if not self._warm:
            self._warm_up()
        before = self._speed or self._calibration()
        seed = self.plan.seed(pair)
        self.watch(Progress(stage=stage, variant=variant, steps=steps, left=self._left(pair)))
        started, failed = time.monotonic(), ""
        try:
            outcome = self.train(self.plan.variants[variant], seed, steps)
        except NumericError as error:
            reason = str(error).partition(";")[0]  # then comes where the weights are, which go
            failed = f"diverges at seed {seed}, {steps} steps: {' '.join(reason.split())}"
            outcome = FAILED
        self._speed = self._calibration()
        others = [t.outcome for t in self.journal.trials if t.variant == variant and not t.failed]
        if not failed and any(other.parents_cost != outcome.parents_cost for other in others):
            raise UserError(
                f"{variant}: its parent run has been trained anew since this comparison began; begin another"
            )
        if not failed:
            stepping = outcome.costs.get("seconds", 0.0) - outcome.phases.get("setup", 0.0)
            besides = max(0.0, time.monotonic() - started - stepping)
            self._walls[variant] = (stepping / steps, besides)
        trial = Trial(
            variant=variant,
            pair=pair,
            seed=seed,
            steps=steps,
            outcome=outcome,
            speed=(before, self._speed),
            timed=self.calibrate is not None,
            failed=failed,
        )
        self.journal.add(trial)
        self.watch(Progress(stage=stage, variant=variant, steps=steps, trial=trial, left=self._left(pair)))
        return trial

    def _calibration(self) -> float:
        """The machine's speed now. A calibration that differs from the last may be off by itself, after
        minutes of training; then the median of three counts. 0 where none is made."""
        if self.calibrate is None:
            return 0.0
        if self._last_speed is None:
            self.say("calibrating: a fixed piece of work is timed before and after each training")
        seconds = self.calibrate()
        if self._last_speed is None or moved((self._last_speed, seconds), self.plan.tolerance):
            seconds = statistics.median((seconds, self.calibrate(), self.calibrate()))
        self._last_speed = seconds
        return seconds

    def _left(self, pair: int) -> float | None:
        """Seconds until the end: of this round what is not done, and all that come after. None before the
        rounds, until each variant has been trained, and where several train at a time."""
        if (
            self.calibrate is None
            or pair < 0
            or any(variant not in self._walls for variant in self._standing())
        ):
            return None
        total, rounds = 0.0, self.plan.pairs - pair - 1
        for variant in self._standing():
            each, besides = self._walls[variant]
            budgets, done = self.policy.budgets(variant, pair), self.journal.of(variant, pair)
            steps = max(0, sum(budgets) - sum(trial.steps for trial in done)) + sum(budgets) * rounds
            trainings = max(0, len(budgets) - len(done)) + len(budgets) * rounds
            total += steps * each + trainings * besides
        return total
