"""A run: the loop, its evaluations and its checkpoints. Read from `Trainer.run` downwards."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import attrs
import torch

from resnetbk.errors import NumericError, UserError, one_line
from resnetbk.hooks import EvaluationReport, RunReport, StepReport
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint
from resnetbk.runs.checkpoint import Checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.spec.spec import Spec
from resnetbk.training.averaging import averaged, to_averages
from resnetbk.training.device import precision_on
from resnetbk.training.learner import Learner
from resnetbk.training.memory import largest_files
from resnetbk.training.objective import Evaluation
from resnetbk.training.observers import manager, observers
from resnetbk.training.processes import Processes
from resnetbk.training.run_state import RunState
from resnetbk.training.sharding import whole
from resnetbk.training.signals import Interrupted, Signals
from resnetbk.training.step import Step

SKIPS_IN_A_ROW = 100
"""After so many bad steps in a row, `skip` and `rollback` give up as `stop` does."""

WARM = 1
JUDGED = 3
"""Steps after which everything has been compiled, and after which there are samples enough to judge by."""


class Trainer:
    """One run of a spec in a folder. All that a checkpoint must hold is in `RunState`.

    strict_flops  whether operators whose FLOPs cannot be counted end the run; else they are one warning
    watchers      observers besides those that the spec lists
    """

    def __init__(
        self,
        spec: Spec,
        registry: Registry,
        folder: RunFolder,
        *,
        device: str = "",
        processes: Processes | None = None,
        strict_flops: bool = False,
        watchers: Sequence[object] = (),
    ) -> None:
        """Reads the corpus and builds everything; trains nothing yet."""
        self.spec = spec
        self.folder = folder
        self.strict_flops = strict_flops
        self.processes = processes or Processes()
        first = self.processes.first
        self.hooks = observers(spec, registry, folder.path, watchers) if first else manager([]).hook
        self.hooks.resnetbk_check(spec=spec)
        self.learner = Learner(spec, device=device, processes=self.processes)
        if spec.train.target_accuracy and not self.learner.data.text.task:
            raise UserError(
                f"train.target_accuracy: {spec.data.corpus.name!r} is no task and has no labels; give "
                "train.target, a loss"
            )
        self.best: float | None = None
        self.best_at: str | None = None
        self.bad_steps = 0
        self.evaluation_due = False
        self.stopped = ""
        self.uncounted = ""
        self._steps_here = 0
        self._saved = -1
        self._signals = Signals()

    # ------------------------------------------------------------ the run

    def run(self, signals: Signals) -> RunReport:
        """Trains until the budget is spent, the target reached, or a signal comes.

        A run that is finished already is only measured. Raises NumericError and Interrupted, with all that
        is good saved.
        """
        self._signals = signals
        over = bool(self.stopped) and not self.evaluation_due
        if over and (not self.processes.first or self.folder.ended()):
            return self._report(self.learner.measure(signals))
        self.hooks.resnetbk_built(model=self.learner.model, spec=self.spec)
        try:
            evaluation = self.learner.measure(signals) if over else self._train()
        except BaseException as error:
            self.hooks.resnetbk_interrupted(reason=one_line(error))
            raise
        report = self._report(evaluation)
        self.hooks.resnetbk_finished(run=report)
        return report

    def _train(self) -> Evaluation:
        train = self.spec.train
        if self.learner.step == 0:
            self.save()  # so that whatever ends the run, it can be resumed
        while True:
            if not self.evaluation_due:  # else this run was interrupted before it
                self._step()
                if self.learner.unread:
                    continue
                self.stopped = self._spent()
                self.evaluation_due = self._due(train.evaluate)
                if self._due(train.save):
                    self.save()
            if self.evaluation_due:
                try:
                    evaluation, best = self._evaluate()
                except Interrupted:
                    self.save()
                    raise
                if best or self.stopped:
                    self.save(best, evaluated=True)
                if self.stopped:  # and where evaluations read a part, this one reads all
                    return self.learner.measure(self._signals) if train.evaluate_tokens else evaluation
            received = max(self.processes.gather(self._signals.received))
            if received:
                self.save()
                raise Interrupted(
                    received, f"interrupted after step {self.learner.step}, which is saved; --resume goes on"
                )

    def _step(self) -> None:
        """A step; and, where it is time to read it, the reports of all that are unread."""
        train, learner = self.spec.train, self.learner
        learner.learn()
        ends = learner.every == 1 or self.bad_steps or self._signals.received or self._spent()
        ends = ends or self._due(train.evaluate) or self._due(train.save)
        if not ends and len(learner.unread) < learner.every:
            return
        reports, bad = learner.read(keep=0 if ends else 1)
        for report in reports:
            self.bad_steps = 0
            self._report_step(report)
        if bad:
            self.bad_steps += 1
            self._judge(bad)
            self._report_step(learner.skip(bad))
        if self._steps_here >= JUDGED and not self.uncounted:
            self._check_flops()

    def _report_step(self, report: StepReport) -> None:
        self._steps_here += 1
        self.hooks.resnetbk_step(report=report)
        if self._steps_here == WARM:
            self.learner.meter.warm()

    def _judge(self, bad: Step) -> None:
        """What `train.nonfinite` makes of a bad step: the end of the run, or the weights to go on with."""
        policy = self.spec.train.nonfinite
        if policy == "stop" or self.bad_steps > SKIPS_IN_A_ROW:
            raise NumericError(f"{bad.wrong}; the weights before it are in {self.save()}")
        if policy == "rollback":
            path = checkpoint.latest(self.folder.path)
            self.learner.load(checkpoint.load(path), path)

    def _check_flops(self) -> None:
        try:
            self.learner.meter.check()
        except UserError as error:
            if self.strict_flops:
                self.save()
                raise
            self.uncounted = str(error)
            message = "%s; training goes on, and its FLOPs are counted without them"
            logging.getLogger("resnetbk").warning(message, error)

    def _due(self, every: int) -> bool:
        return bool(self.stopped) or (every > 0 and self.learner.step % every == 0)

    def _evaluate(self) -> tuple[Evaluation, bool]:
        """The evaluation, and whether it is the best so far. Reaching a target ends the run.

        Raises NumericError when the loss is not finite.
        """
        train = self.spec.train
        evaluation = self.learner.measure(self._signals, most=train.evaluate_tokens)
        if not math.isfinite(evaluation.loss):
            raise NumericError(f"step {self.learner.step}: the held-out loss is {evaluation.loss}")
        best = self.best is None or evaluation.error < self.best
        if best:
            self.best = evaluation.error
        accurate = train.target_accuracy and (evaluation.accuracy or 0.0) >= train.target_accuracy
        if accurate or (train.target is not None and evaluation.loss <= train.target):
            self.stopped = "target"
        self.evaluation_due = False
        report = EvaluationReport(step=self.learner.step, best=best, **attrs.asdict(evaluation))
        with averaged(self.learner.optimizer):
            self.hooks.resnetbk_evaluated(report=report)
        return evaluation, best

    def _spent(self) -> str:
        train = self.spec.train
        if train.steps and self.learner.step >= train.steps:
            return "steps"
        return "seconds" if train.seconds and self.learner.meter.seconds >= train.seconds else ""

    # ------------------------------------------------------------ saving and resuming

    def save(self, best: bool = False, *, evaluated: bool = False) -> Path:
        """Writes a checkpoint, and drops those beyond the last `train.keep` and the best; the first process.
        `evaluated`: nothing but an evaluation happened since the last step, and that changes no tensor.

        Raises NumericError, and leaves what is saved alone, when a weight is not finite.
        """
        learner = self.learner
        parts = [getattr(p, "to_local", p.detach)().detach() for p in learner.parameters]  # of this process
        ends = [torch.stack(torch.aminmax(part)) for part in parts if part.numel()]
        finite = all(bool(torch.isfinite(pair).all()) for pair in ends)  # NaN is both ends of what it is in
        if not all(self.processes.gather(finite)):
            raise NumericError(
                f"step {learner.step}: the weights are not finite; the last good ones are in "
                f"{self.folder.path}"
            )
        if best:
            self.best_at = checkpoint.name(learner.step)
        state = RunState(
            **learner.state(),
            evaluation_due=self.evaluation_due,
            bad_steps=self.bad_steps,
            best=self.best,
            best_at=self.best_at,
            stopped=self.stopped,
        )
        unchanged = evaluated and self._saved == learner.step
        with averaged(learner.optimizer):
            states = learner.model.state_dict(), learner.optimizer.state_dict()
            model, optimizer = whole(states, keep=self.processes.first)
            if not self.processes.first:
                return self.folder.checkpoints / checkpoint.name(learner.step)
            self.folder.check_same()
            saved = Checkpoint(model, optimizer, attrs.asdict(state, recurse=False))
            path = checkpoint.save(self.folder.checkpoints, learner.step, saved, unchanged=unchanged)
        self._saved = learner.step
        checkpoint.prune(self.folder.path, self.spec.train.keep, self.best_at)
        return path

    def resume(self) -> None:
        """Goes on from the folder's latest good checkpoint: bitwise what the uninterrupted run would do."""
        path = checkpoint.latest(self.folder.path)
        saved = checkpoint.load(path, largest=largest_files(self.spec))
        state = RunState.of(saved, path)
        self.learner.restore(saved, state, path)
        self.bad_steps, self.stopped = state.bad_steps, state.stopped
        self.evaluation_due = state.evaluation_due
        self.best, self.best_at = state.best, state.best_at
        if self.processes.first:
            self.folder.rewind(state.step, evaluated=not state.evaluation_due)
            checkpoint.point(self.folder.path, path)
            checkpoint.prune(self.folder.path, self.spec.train.keep, self.best_at)

    def _report(self, evaluation: Evaluation) -> RunReport:
        learner = self.learner
        to_averages(learner.optimizer)  # with which whoever trained this run goes on
        spent = learner.spent()
        return RunReport(
            folder=self.folder.path,
            loss=evaluation.loss,
            bits_per_byte=evaluation.bits_per_byte,
            parameters=learner.model.parameter_count(),
            steps=learner.step,
            tokens=learner.tokens,
            seconds=learner.meter.seconds,
            stopped=self.stopped,
            phases=learner.meter.phases(),
            flops=spent["flops"],
            cpu_seconds=spent["cpu_seconds"],
            peak_memory=sum(self.processes.gather(learner.meter.peak_memory)),
            parents_cost=dict(learner.parents_cost),
            uncounted=self.uncounted,
            precision=precision_on(learner.device, self.spec.train.precision),
            accuracy=evaluation.accuracy,
            groups=evaluation.groups,
        )
