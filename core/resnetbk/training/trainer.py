"""A run: the loop, its evaluations and its checkpoints. Read `Trainer.run` first: it is the whole of it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import torch

from resnetbk.errors import NumericError, UserError
from resnetbk.hooks import EvaluationReport, RunReport, manager
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint
from resnetbk.runs.checkpoint import Checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.spec.spec import Spec
from resnetbk.training.learner import Learner
from resnetbk.training.objective import Evaluation
from resnetbk.training.observers import observers
from resnetbk.training.processes import Processes
from resnetbk.training.signals import Interrupted, Signals
from resnetbk.training.weights import load_weights

SKIPS_IN_A_ROW = 100
"""After so many bad steps in a row, `skip` and `rollback` give up as `stop` does."""

WARM = 1
JUDGED = 3
"""Steps after which everything has been compiled, and after which there are samples enough to judge by."""


class Trainer(Learner):
    """One run of a spec in a folder. All that a checkpoint must hold is in `_checkpoint`."""

    def __init__(
        self,
        spec: Spec,
        registry: Registry,
        folder: RunFolder,
        *,
        device: str = "",
        processes: Processes | None = None,
    ) -> None:
        """Reads the corpus and builds everything; trains nothing yet."""
        self.folder = folder
        first = processes is None or processes.first
        self.hooks = observers(spec, registry, folder.path) if first else manager([]).hook
        self.hooks.resnetbk_check(spec=spec)
        super().__init__(spec, device=device, processes=processes)
        self.best: float | None = None
        self.best_at: str | None = None
        self.stopped = ""
        self._steps_here = 0

    # ------------------------------------------------------------ the run

    def run(self, signals: Signals) -> RunReport:
        """Trains until the budget is spent, the target reached, or a signal comes.

        A run that is finished already is only measured. Raises NumericError and Interrupted, with all that
        is good saved.
        """
        if self.stopped:
            return self._report(self.measure())
        self.hooks.resnetbk_built(model=self.model, spec=self.spec)
        try:
            found = self._train(signals)
        except BaseException as error:
            self.hooks.resnetbk_interrupted(reason=" ".join(f"{type(error).__name__}: {error}".split()))
            raise
        report = self._report(found)
        self.hooks.resnetbk_finished(run=report)
        return report

    def _train(self, signals: Signals) -> Evaluation:
        train = self.spec.train
        if self.step == 0:
            self.save()  # so that whatever ends the run, it can be resumed
        while True:
            self._step()
            self.stopped = self._spent()
            if self._due(train.save):
                self.save()
            if self._due(train.evaluate):
                found, best = self._evaluate()
                if best or self.stopped:
                    self.save(best)
                if self.stopped:
                    return found
            received = max(self.processes.gather(signals.received))
            if received:
                self.save()
                raise Interrupted(
                    received, f"interrupted after step {self.step}, which is saved; --resume goes on"
                )

    def _step(self) -> None:
        report = self.learn()
        self._steps_here += 1
        self.hooks.resnetbk_step(report=report)
        if self._steps_here == WARM:
            self.meter.warm()
        elif self._steps_here >= JUDGED:
            try:
                self.meter.check()
            except UserError:
                self.save()
                raise

    def _refuse(self, what: str) -> None:
        policy = self.spec.train.nonfinite
        if policy == "stop" or self.bad_steps > SKIPS_IN_A_ROW:
            saved = self.save()
            raise NumericError(f"step {self.step + 1}: {what}; the weights before it are in {saved}")
        if policy == "rollback":
            # the step number goes on, so that the run does not meet the same batch again
            good = checkpoint.load(self.folder.latest())
            self.model.load_state_dict(good.model)
            self.optimizer.load_state_dict(good.optimizer)

    def _due(self, every: int) -> bool:
        return bool(self.stopped) or (every > 0 and self.step % every == 0)

    def _evaluate(self) -> tuple[Evaluation, bool]:
        """The held-out loss, and whether it is the best so far. Reaching the target ends the run.

        Raises NumericError when the loss is not finite.
        """
        train, found = self.spec.train, self.measure()
        if not math.isfinite(found.loss):
            raise NumericError(f"step {self.step}: the held-out loss is {found.loss}")
        best = self.best is None or found.loss < self.best
        if best:
            self.best = found.loss
        if train.target is not None and found.loss <= train.target:
            self.stopped = "target"
        self.hooks.resnetbk_evaluated(
            report=EvaluationReport(
                self.step,
                found.loss,
                found.bits_per_byte,
                found.tokens,
                found.seconds,
                best,
                found.rows,
                found.depths,
            )
        )
        return found, best

    def _spent(self) -> str:
        train = self.spec.train
        if train.steps and self.step >= train.steps:
            return "steps"
        return "seconds" if train.seconds and self.meter.seconds >= train.seconds else ""

    # ------------------------------------------------------------ saving and resuming

    def save(self, best: bool = False) -> Path:
        """Writes a checkpoint, and drops those beyond the last `train.keep` and the best; the first process.

        Raises NumericError, and leaves what is saved alone, when a weight is not finite.
        """
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters):
            raise NumericError(
                f"step {self.step}: the weights are not finite; the last good ones are in {self.folder.path}"
            )
        if best:
            self.best_at = checkpoint.name(self.step)
        spent = self.spent()
        if not self.processes.first:
            return self.folder.checkpoints / checkpoint.name(self.step)
        path = checkpoint.save(self.folder.checkpoints, self.step, self._checkpoint(spent))
        checkpoint.prune(self.folder.path, self.spec.train.keep, self.best_at)
        return path

    def _checkpoint(self, spent: dict[str, float]) -> Checkpoint:
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "meter": self.meter.state(),
            "elsewhere": {name: total - getattr(self.meter, name) for name, total in spent.items()},
            "source": dict(self.parents_cost),
            "bad_steps": self.bad_steps,
            "best": self.best,
            "best_at": self.best_at,
            "stopped": self.stopped,
            "rng": rng,
            "selector": self.selector.state(),
            "strategy": self.strategy.state(),
            "tokenizer": self.data.tokenizer.state(),
            "corpus_sha256": self.data.text.sha256,
        }
        return Checkpoint(self.model.state_dict(), self.optimizer.state_dict(), state)

    def resume(self) -> None:
        """Goes on from the folder's latest good checkpoint: bitwise what the uninterrupted run would do."""
        path = self.folder.latest()
        saved = checkpoint.load(path)
        state = saved.state
        if state["corpus_sha256"] != self.data.text.sha256:
            raise UserError(f"{path}: trained on another text than data.corpus gives now; it cannot resume")
        load_weights(self.model, saved.model, path)
        self.optimizer.load_state_dict(saved.optimizer)
        self.selector.restore(state["selector"])
        self.strategy.restore(state["strategy"])
        torch.set_rng_state(state["rng"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["rng"]:
            torch.cuda.set_rng_state(state["rng"]["cuda"], self.device)
        for name in ("step", "tokens", "bad_steps", "best", "best_at", "stopped"):
            setattr(self, name, state[name])
        self.meter.restore(state["meter"])
        self.parents_cost = Counter(state["source"])
        if self.processes.first:
            self.elsewhere = Counter(state["elsewhere"])
            self.folder.rewind(self.step)
        else:  # the first process tells what all had spent
            self.elsewhere = Counter({name: -getattr(self.meter, name) for name in state["elsewhere"]})

    def _report(self, found: Evaluation) -> RunReport:
        spent = self.spent()
        memory = sum(self.processes.gather(self.meter.peak_memory))
        return RunReport(
            folder=self.folder.path,
            loss=found.loss,
            bits_per_byte=found.bits_per_byte,
            parameters=self.model.parameter_count(),
            steps=self.step,
            tokens=self.tokens,
            seconds=self.meter.seconds,
            stopped=self.stopped,
            phases=self.meter.phases(),
            flops=spent["flops"],
            cpu_seconds=spent["cpu_seconds"],
            peak_memory=memory,
            parents_cost=dict(self.parents_cost),
        )
