"""A spec with all that it takes to train, and one step of training it."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import torch

from resnetbk.errors import NumericError, UserError
from resnetbk.hooks import StepReport
from resnetbk.kinds import Batch, Objective, Turn, Windows
from resnetbk.model.assemble import assemble, build
from resnetbk.spec.spec import Spec
from resnetbk.training.data import Data
from resnetbk.training.gradients import clip
from resnetbk.training.meter import Meter
from resnetbk.training.objective import Evaluation, evaluate, objective


class Learner:
    """Everything that a spec names, built, in memory alone. `meter` knows what it cost so far."""

    def __init__(self, spec: Spec, *, device: str = "") -> None:
        """Reads the corpus and builds everything; trains nothing yet."""
        self.spec = spec
        self.device = _device(device)
        self.meter = Meter(self.device if self.device.type == "cuda" else None)
        text = build("data.corpus", spec.data.corpus)
        with self.meter.phase("setup", always=True):
            self.data = Data.of(text, spec.data)
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
        self.tokens = 0
        self.bad_steps = 0
        self._rows = np.zeros(spec.model.depth)
        self._seen = 0

    def learn(self) -> StepReport:
        """One step: choose windows, differentiate, update."""
        meter = self.meter
        self._rows[:], self._seen = 0, 0
        turn, windows, batch = self.choose()
        with meter.phase("backward"):
            result = self.strategy.gradients(self.step, batch, self._objective)
            loss = float(result.cross_entropy)
        with meter.phase("optimizer", "clip"):
            norm = clip(self.parameters, self.spec.train.clip)
        if math.isfinite(loss) and math.isfinite(norm):
            with meter.phase("optimizer", "update"):
                rate = self.optimizer.update(self.step, turn.progress)
            with meter.phase("scoring", "lesson"):
                self.selector.observe(turn, windows, result.window_losses.float().cpu().numpy())
            self.bad_steps = 0
        else:
            rate = 0.0
            self.bad_steps += 1
            for parameter in self.parameters:
                parameter.grad = None
            self._refuse(
                f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
            )
        self.step += 1
        self.tokens += batch.inputs.numel()
        return StepReport(
            step=self.step,
            steps=self.spec.train.steps,
            progress=self.progress(),
            loss=loss,
            penalties={name: float(value) for name, value in result.penalties.items()},
            rate=rate,
            gradient_norm=norm,
            tokens=self.tokens,
            seconds=meter.seconds,
            rows=tuple((self._rows / max(self._seen, 1)).tolist()),
            flops=meter.flops,
        )

    def choose(self) -> tuple[Turn, Windows, Batch]:
        """What the selector wants to be trained on now."""
        turn = Turn(self.step, self.progress(), self._score)
        with self.meter.phase("scoring", "choice"):
            windows = self.selector.select(turn)
            return turn, windows, self.data.batch(windows, self.device)

    def _objective(self, batch: Batch) -> Objective:
        tokens = batch.inputs.numel()
        with self.meter.phase("forward", tokens=tokens):
            result = self._forward(batch)
        if result.loss.requires_grad:  # whoever differentiates it works on as many tokens
            hook: Any = result.loss.register_hook
            hook(lambda gradient: self.meter.worked("backward", tokens))
        return result

    def _score(self, windows: Windows) -> Any:
        with torch.no_grad(), self.meter.phase("scoring", "score", windows.length * len(windows.starts)):
            return self._forward(self.data.batch(windows, self.device)).window_losses.float().cpu().numpy()

    def _forward(self, batch: Batch) -> Objective:
        result, rows = objective(self.model, batch, self.spec.train.precision)
        self._rows += rows
        self._seen += batch.inputs.numel()
        return result

    def _refuse(self, what: str) -> None:
        """A loss or gradient that is not finite: the weights have not been touched by it."""
        raise NumericError(f"step {self.step + 1}: {what}")

    def measure(self) -> Evaluation:
        """The held-out loss, metered."""
        window, precision = self.spec.data.window, self.spec.train.precision
        return evaluate(self.model, self.data, window=window, precision=precision, meter=self.meter)

    def progress(self) -> float:
        """The share of the budget that is spent, in [0, 1]."""
        train = self.spec.train
        steps = self.step / train.steps if train.steps else 0.0
        seconds = self.meter.seconds / train.seconds if train.seconds else 0.0
        return min(1.0, max(steps, seconds))


def _device(name: str) -> torch.device:
    """`cpu` or `cuda`; "" for cuda where there is one. Raises UserError."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("there is no CUDA device here; leave --device out, or say cpu")
    return torch.device(name or ("cuda" if there else "cpu"))
