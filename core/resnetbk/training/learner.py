"""A spec with all that it takes to train, and one step of training it."""

from __future__ import annotations

import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from resnetbk.errors import NumericError, UserError
from resnetbk.hooks import StepReport
from resnetbk.kinds import (
    Batch,
    BatchLoss,
    DataSelector,
    GradientStrategy,
    Initializer,
    Optimizer,
    SelectionContext,
    Text,
    Windows,
)
from resnetbk.metering.meter import Meter
from resnetbk.model.assemble import assemble, build
from resnetbk.model.language_model import Output
from resnetbk.runs.checkpoint import Checkpoint, load_weights
from resnetbk.spec.spec import Spec
from resnetbk.training.compiled import CompiledObjective
from resnetbk.training.data import Data
from resnetbk.training.device import at, exhausted, find_device
from resnetbk.training.gradients import clip
from resnetbk.training.memory import check_memory
from resnetbk.training.objective import Evaluation, evaluate
from resnetbk.training.processes import Processes
from resnetbk.training.run_state import RunState
from resnetbk.training.selector_scores import selector_score


class NotFinite(NumericError):
    """A step whose loss or gradient is not finite. The weights have not been touched by it."""

    def __init__(self, message: str, attempt: _Attempt) -> None:
        super().__init__(message)
        self.attempt = attempt


@attrs.frozen(eq=False)
class _Attempt:
    """What a step was about to learn from."""

    windows: Windows
    batch_loss: BatchLoss
    loss: float
    gradient_norm: float


class Learner:
    """Everything that a spec names, built, in memory alone.

    `meter` knows what it cost this process so far; `elsewhere` the flops and cpu_seconds of other processes
    before this one resumed; `parents_cost` what its parent runs cost, to start from or to choose data
    by: their seconds, cpu_seconds, flops and tokens, or nothing.
    """

    def __init__(self, spec: Spec, *, device: str = "", processes: Processes | None = None) -> None:
        """Reads the corpus and builds everything; trains nothing yet."""
        self.spec = spec
        self.processes = processes or Processes()
        self.processes.check(spec)
        self.device = find_device(device)
        self.meter = Meter(self.device if self.device.type == "cuda" else None)
        text = build("data.corpus", spec.data.corpus, Text)
        with self.meter.phase("setup", always=True), at(self.device):
            self.data = Data.of(text, spec.data)
            if spec.train.batch > len(self.data.train):
                raise UserError(
                    f"train.batch: {spec.train.batch} windows a step, and this corpus has "
                    f"{len(self.data.train)} tokens to begin them at: make the batch smaller"
                )
            check_memory(spec, self.data.tokenizer.vocabulary, self.device)
            self.model = assemble(spec.model, vocabulary=self.data.tokenizer.vocabulary, seed=spec.seed)
            start = build("train.start", spec.train.start, Initializer)
            for line in start.initialize(self.model, self.data.tokenizer, spec.model.depth):
                logging.getLogger("resnetbk").info("start: %s", line)
            self.model.to(self.device)
            self._model_objective = CompiledObjective(spec.train.compile, self.model, self.device)
            weights = self.model.weights()
            self.parameters = [weight.parameter for weight in weights]
            self.optimizer = build("train.optimizer", spec.train.optimizer, Optimizer, weights=weights)
            self.strategy = build("train.gradient", spec.train.gradient, GradientStrategy, weights=weights)
            self.selector = build(
                "data.selector",
                spec.data.selector,
                DataSelector,
                tokens=self.data.train,
                window=spec.data.window,
                batch=spec.train.batch,
                seed=spec.seed,
            )
            # by folder, so that a run which is start and reference at once is charged once
            parents = getattr(start, "parents", {}) | getattr(self.selector, "parents", {})
            self.parents_cost: Counter[str] = Counter()
            for cost in parents.values():
                self.parents_cost.update(cost)
        self.elsewhere: Counter[str] = Counter()
        self.step = 0
        self.tokens = 0
        self._rows = np.zeros(spec.model.depth)
        self._seen = 0

    def learn(self) -> StepReport:
        """One step: choose windows, differentiate, update.

        Raises NotFinite instead of the update; then `skip` is the step.
        """
        meter = self.meter
        self._rows[:], self._seen = 0, 0
        self.processes.align(self.model)
        self.model.anneal(self.progress())
        context, windows, batch = self.choose()
        with meter.phase("backward"):
            result = self.strategy.gradients(self.step, batch, self._objective)
            result = self.processes.average(result, self.parameters)
            loss = float(result.cross_entropy)
        with meter.phase("optimizer", "clip", weights=self._with_gradient()):
            norm = clip(self.parameters, self.spec.train.clip)
        attempt = _Attempt(windows, result, loss, norm)
        for value, what in ((loss, "the loss is"), (norm, "the gradient's norm is")):
            if not math.isfinite(value):
                raise NotFinite(f"step {self.step + 1}: {what} {value}", attempt)
        with meter.phase("optimizer", "update", weights=self._with_gradient()):
            rate = self.optimizer.update(self.step, context.progress)
        with meter.phase("scoring", "lesson"):
            self.selector.observe(context, windows, result.window_losses.float().cpu().numpy())
        return self._finish(attempt, rate)

    def skip(self, bad: NotFinite) -> StepReport:
        """Goes on after a step that was not finite, without its update: the next one meets other windows."""
        for parameter in self.parameters:
            parameter.grad = None
        return self._finish(bad.attempt, rate=0.0)

    def _finish(self, attempt: _Attempt, rate: float) -> StepReport:
        self.step += 1
        self.tokens += attempt.windows.length * len(attempt.windows.starts)
        seen, *computed = np.sum(self.processes.gather([self._seen, *self._rows]), 0)
        return StepReport(
            step=self.step,
            steps=self.spec.train.steps,
            progress=self.progress(),
            loss=attempt.loss,
            penalties={name: float(value) for name, value in attempt.batch_loss.penalties.items()},
            rate=rate,
            gradient_norm=attempt.gradient_norm,
            tokens=self.tokens,
            seconds=self.meter.seconds,
            rows=tuple((np.array(computed) / max(seen, 1)).tolist()),
            flops=self.spent()["flops"],
        )

    def spent(self) -> dict[str, float]:
        """The flops and cpu_seconds of set-up and steps, of all processes."""
        names = ("flops", "cpu_seconds")
        own = [getattr(self.meter, name) + self.elsewhere[name] for name in names]
        totals = np.sum(self.processes.gather(own), 0)
        return dict(zip(names, totals.tolist(), strict=True))

    def choose(self) -> tuple[SelectionContext, Windows, Batch]:
        """What the selector wants to be trained on now, and this process's share of it as a batch."""
        context = SelectionContext(self.step, self.progress(), self._score)
        with self.meter.phase("scoring", "choice"):
            windows = self.selector.select(context)
            return context, windows, self.data.batch(self.processes.share(windows), self.device)

    def _objective(self, batch: Batch) -> BatchLoss:
        tokens = batch.inputs.numel()
        with self.meter.phase("forward", tokens=tokens):
            result, _ = self._forward(batch)
        if result.loss.requires_grad:  # whoever differentiates it works on as many tokens
            weights = sum(parameter.requires_grad for parameter in self.parameters)
            hook: Any = result.loss.register_hook
            hook(lambda gradient: self.meter.worked("backward", tokens, weights))
        return result

    def _score(self, windows: Windows, measure: str = "loss") -> Any:
        mine = self.processes.share(windows)
        with torch.no_grad(), self.meter.phase("scoring", "score", mine.length * len(mine.starts)):
            scores = self._scores(mine, measure)
            if mine is windows:
                return scores
            return np.concatenate(self.processes.gather(scores.tolist())).astype(scores.dtype)

    def _scores(self, windows: Windows, measure: str) -> Any:
        """(batch,) numbers; in halves where memory runs out. UserError where one window does not fit."""
        try:
            result, output = self._forward(self.data.batch(windows, self.device))
            return selector_score(measure, result, output.logits).float().cpu().numpy()
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not exhausted(error):
                raise
        if len(windows.starts) == 1:
            raise UserError(
                "data.selector: memory does not suffice to score one window; make data.window or the model "
                "smaller"
            )
        halves = np.array_split(windows.starts, 2)
        return np.concatenate([self._scores(attrs.evolve(windows, starts=half), measure) for half in halves])

    def _forward(self, batch: Batch) -> tuple[BatchLoss, Output]:
        result, output = self._model_objective(self.model, batch, self.spec.train.precision)
        self._rows += output.rows
        self._seen += batch.inputs.numel()
        return result, output

    def _with_gradient(self) -> int:
        return sum(parameter.grad is not None for parameter in self.parameters)

    def measure(self) -> Evaluation:
        """The held-out loss, metered, by the first process for all."""
        window, precision = self.spec.data.window, self.spec.train.precision
        evaluation: Evaluation | None = None
        if self.processes.first:
            evaluation = evaluate(self.model, self.data, window=window, precision=precision, meter=self.meter)
        first = self.processes.gather(evaluation and attrs.asdict(evaluation))[0]
        return evaluation or Evaluation(**first)

    def progress(self) -> float:
        """The share of the budget that is spent, in [0, 1]."""
        train = self.spec.train
        steps = self.step / train.steps if train.steps else 0.0
        seconds = self.meter.seconds / train.seconds if train.seconds else 0.0
        return min(1.0, max(steps, seconds))

    # ------------------------------------------------------------ saving and resuming

    def state(self) -> dict[str, Any]:
        """Its part of a `RunState`. All processes call it together."""
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "step": self.step,
            "tokens": self.tokens,
            "meter": self.meter.state(),
            "elsewhere": {name: total - getattr(self.meter, name) for name, total in self.spent().items()},
            "source": dict(self.parents_cost),
            "rng": rng,
            "selector": self.selector.state(),
            "strategy": self.strategy.state(),
            "tokenizer": self.data.tokenizer.state(),
            "corpus_sha256": self.data.text.sha256,
        }

    def restore(self, saved: Checkpoint, state: RunState, path: Path) -> None:
        """Goes on from a checkpoint: bitwise what the uninterrupted run would do. `path` is for messages."""
        if state.corpus_sha256 != self.data.text.sha256:
            raise UserError(
                f"{path}: trained on another text than data.corpus gives now; bring that back, or "
                "begin another run, without --resume"
            )
        load_weights(self.model, saved.model, path)
        self.optimizer.load_state_dict(saved.optimizer)
        self.selector.restore(dict(state.selector))
        self.strategy.restore(dict(state.strategy))
        torch.set_rng_state(state.rng["cpu"])
        if self.device.type == "cuda" and "cuda" in state.rng:
            torch.cuda.set_rng_state(state.rng["cuda"], self.device)
        self.step, self.tokens = state.step, state.tokens
        self.meter.restore(state.meter)
        self.parents_cost = Counter(state.source)
        if self.processes.first:
            self.elsewhere = Counter(state.elsewhere)
        else:  # the first process tells what all had spent
            self.elsewhere = Counter({name: -getattr(self.meter, name) for name in state.elsewhere})
