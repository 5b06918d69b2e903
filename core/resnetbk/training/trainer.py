"""The training loop. Read `Trainer.run` first: it is the whole of a run."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnetbk.errors import NumericError, UserError
from resnetbk.hooks import EvaluationReport, RunReport, StepReport
from resnetbk.kinds import Batch, Objective, Turn, Windows
from resnetbk.model.assemble import assemble, build
from resnetbk.registry.lookup import Registry
from resnetbk.spec.spec import Spec
from resnetbk.training import checkpoint
from resnetbk.training.checkpoint import Checkpoint
from resnetbk.training.data import Data
from resnetbk.training.gradients import clip
from resnetbk.training.objective import Evaluation, evaluate, objective
from resnetbk.training.observers import observers
from resnetbk.training.run_folder import RunFolder
from resnetbk.training.signals import Interrupted, Signals
from resnetbk.training.weights import load_weights

SKIPS_IN_A_ROW = 100
"""After so many bad steps in a row, `skip` and `rollback` give up as `stop` does."""


class Trainer:
    """One run of a spec in a folder. All that a checkpoint must hold is in `_checkpoint`."""

    def __init__(self, spec: Spec, registry: Registry, folder: RunFolder, *, device: str = "") -> None:
        """Reads the corpus and builds everything; trains nothing yet."""
        self.spec, self.folder = spec, folder
        self.device = _device(device)
        self.hooks = observers(spec, registry, folder.path)
        self.hooks.resnetbk_check(spec=spec)

        self.data = Data.load(spec.data)
        self.model = assemble(spec.model, vocabulary=self.data.tokenizer.vocabulary, seed=spec.seed)
        start = build("train.start", spec.train.start)
        for line in start.initialize(self.model, self.data.tokenizer, spec.model.depth):
            logging.getLogger("resnetbk").info("start: %s", line)
        self.model.to(self.device)
        weights = self.model.weights()
        self.parameters = [weight.parameter for weight in weights]
        self.optimizer = build("train.optimizer", spec.train.optimizer, weights=weights)
        self.strategy = build("train.gradient", spec.train.gradient, parameters=self.parameters)
        self.selector = build(
            "data.selector",
            spec.data.selector,
            tokens=self.data.train,
            window=spec.data.window,
            batch=spec.train.batch,
            seed=spec.seed,
        )

        self.step = 0
        self.seconds = 0.0
        self.tokens = 0
        self.bad_steps = 0
        self.best: float | None = None
        self.best_at: str | None = None
        self.stopped = ""
        self._rows = np.zeros(spec.model.depth)
        self._seen = 0

    # ------------------------------------------------------------ the run

    def run(self, signals: Signals) -> RunReport:
        """Trains until the budget is spent, the target reached, or a signal comes.

        A run that is finished already is only measured. Raises NumericError and Interrupted, with all that
        is good saved.
        """
        if self.stopped:
            return self._report(self._measure())
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
            if signals.received:
                self.save()
                raise Interrupted(
                    signals.received, f"interrupted after step {self.step}, which is saved; --resume goes on"
                )

    def _step(self) -> None:
        started = time.perf_counter()
        self._rows[:], self._seen = 0, 0
        turn = Turn(self.step, self._progress(), self._score)
        windows = self.selector.select(turn)
        batch = self.data.batch(windows, self.device)
        result = self.strategy.gradients(self.step, batch, self._objective)
        norm = clip(self.parameters, self.spec.train.clip)
        loss = float(result.cross_entropy)
        if math.isfinite(loss) and math.isfinite(norm):
            rate = self.optimizer.update(self.step, turn.progress)
            self.selector.observe(turn, windows, result.window_losses.float().cpu().numpy())
            self.bad_steps = 0
        else:
            rate = 0.0
            self._refuse(loss, norm)
        self.step += 1
        self.tokens += batch.inputs.numel()
        self.seconds += time.perf_counter() - started
        self.hooks.resnetbk_step(
            report=StepReport(
                step=self.step,
                steps=self.spec.train.steps,
                progress=self._progress(),
                loss=loss,
                penalties={name: float(value) for name, value in result.penalties.items()},
                rate=rate,
                gradient_norm=norm,
                tokens=self.tokens,
                seconds=self.seconds,
                rows=tuple((self._rows / max(self._seen, 1)).tolist()),
            )
        )

    def _objective(self, batch: Batch) -> Objective:
        result, rows = objective(self.model, batch, self.spec.train.precision)
        self._rows += rows
        self._seen += batch.inputs.numel()
        return result

    def _score(self, windows: Windows) -> Any:
        with torch.no_grad():
            batch = self.data.batch(windows, self.device)
            return self._objective(batch).window_losses.float().cpu().numpy()

    def _refuse(self, loss: float, norm: float) -> None:
        """A loss or gradient that is not finite: the weights have not been touched by it."""
        self.bad_steps += 1
        for parameter in self.parameters:
            parameter.grad = None
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
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

    def _measure(self) -> Evaluation:
        window, precision = self.spec.data.window, self.spec.train.precision
        return evaluate(self.model, self.data, window=window, precision=precision)

    def _evaluate(self) -> tuple[Evaluation, bool]:
        """The held-out loss, and whether it is the best so far. Reaching the target ends the run.

        Raises NumericError when the loss is not finite.
        """
        train, found = self.spec.train, self._measure()
        if not math.isfinite(found.loss):
            raise NumericError(f"step {self.step}: the held-out loss is {found.loss}")
        best = self.best is None or found.loss < self.best
        if best:
            self.best = found.loss
        if train.target is not None and found.loss <= train.target:
            self.stopped = "target"
        self.hooks.resnetbk_evaluated(
            report=EvaluationReport(
                self.step, found.loss, found.bits_per_byte, found.tokens, found.seconds, best
            )
        )
        return found, best

    # ------------------------------------------------------------ budget

    def _progress(self) -> float:
        """The share of the budget that is spent, in [0, 1]."""
        train = self.spec.train
        steps = self.step / train.steps if train.steps else 0.0
        seconds = self.seconds / train.seconds if train.seconds else 0.0
        return min(1.0, max(steps, seconds))

    def _spent(self) -> str:
        train = self.spec.train
        if train.steps and self.step >= train.steps:
            return "steps"
        return "seconds" if train.seconds and self.seconds >= train.seconds else ""

    # ------------------------------------------------------------ saving and resuming

    def save(self, best: bool = False) -> Path:
        """Writes a checkpoint, and drops those beyond the last `train.keep` and the best.

        Raises NumericError, and leaves what is saved alone, when a weight is not finite.
        """
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters):
            raise NumericError(
                f"step {self.step}: the weights are not finite; the last good ones are in {self.folder.path}"
            )
        if best:
            self.best_at = checkpoint.name(self.step)
        path = checkpoint.save(self.folder.checkpoints, self.step, self._checkpoint())
        checkpoint.prune(self.folder.path, self.spec.train.keep, self.best_at)
        return path

    def _checkpoint(self) -> Checkpoint:
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "tokens": self.tokens,
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
        for name in ("step", "seconds", "tokens", "bad_steps", "best", "best_at", "stopped"):
            setattr(self, name, state[name])
        self.folder.rewind(self.step)

    def _report(self, found: Evaluation) -> RunReport:
        return RunReport(
            folder=self.folder.path,
            loss=found.loss,
            bits_per_byte=found.bits_per_byte,
            parameters=self.model.parameter_count(),
            steps=self.step,
            tokens=self.tokens,
            seconds=self.seconds,
            stopped=self.stopped,
        )


def _device(name: str) -> torch.device:
    """`cpu` or `cuda`; "" for cuda where there is one. Raises UserError."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("there is no CUDA device here; leave --device out, or say cpu")
    return torch.device(name or ("cuda" if there else "cpu"))
