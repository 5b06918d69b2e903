"""A spec with all that it takes to train, and one step of training it."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnetbk.errors import UserError
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
from resnetbk.training.averaging import Averaging, averaged
from resnetbk.training.data import Data, document_tokens
from resnetbk.training.device import at, find_device, generators, same_draws, set_generators, tell_if_slow
from resnetbk.training.gradients import clip
from resnetbk.training.memory import check_memory
from resnetbk.training.objective import Evaluation, evaluate
from resnetbk.training.processes import Processes
from resnetbk.training.run_state import RunState
from resnetbk.training.selector_scores import in_halves, selector_score
from resnetbk.training.sharding import distributed_as, place
from resnetbk.training.signals import Signals
from resnetbk.training.step import Step
from resnetbk.whole_process import part

READ_EVERY = 10
"""Steps between readings on CUDA, unless the spec says: waiting for one costs less than a step in ten."""


class Learner:
    """Everything that a spec names, built, in memory alone.

    `meter` knows what it cost this process so far; `elsewhere` the flops and cpu_seconds of other processes
    before this one resumed; `parents_cost` what its parent runs cost, to start from or to choose data
    by: their seconds, cpu_seconds, flops and tokens, or nothing. `unread` are the steps since the last
    reading; `every`, how many may be: 1 where anything but the update depends on the step before.
    """

    def __init__(self, spec: Spec, *, device: str = "", processes: Processes | None = None) -> None:
        """Reads the corpus and builds everything; trains nothing yet."""
        self.spec, self.processes = spec, processes or Processes()
        self.processes.check(spec)
        self.lockstep = self.processes.lockstep(spec)
        self.device = find_device(device)
        if self.processes.first:
            tell_if_slow(self.device, spec.train.precision)
        self.meter = Meter(self.device if self.device.type == "cuda" else None)
        with part("corpus"):
            text = build("data.corpus", spec.data.corpus, Text)
        self.elsewhere, self.parents_cost = Counter[str](), Counter[str]()
        with self.meter.phase("setup", always=True), at(self.device):
            self.data = Data.of(text, spec.data)
            if spec.train.batch > len(self.data.train):
                raise UserError(
                    f"train.batch: {spec.train.batch} windows a step, and this corpus has "
                    f"{len(self.data.train)} tokens to begin them at: make the batch smaller"
                )
            check_memory(spec, self.data.tokenizer.vocabulary, self.device, self.processes.size)
            self.model = assemble(spec.model, vocabulary=self.data.tokenizer.vocabulary, seed=spec.seed)
            self.model.begins = document_tokens(spec.data, self.data.tokenizer)
            start = build("train.start", spec.train.start, Initializer)
            for line in start.initialize(self.model, self.data.tokenizer, spec.model.depth):
                logging.getLogger("resnetbk").info("start: %s", line)
            self._model_objective = place(self.model, spec, self.device, self.processes)
            weights = self.model.weights()
            self.parameters = [weight.parameter for weight in weights]
            self.optimizer = build("train.optimizer", spec.train.optimizer, Optimizer, weights=weights)
            if spec.train.average is not None:
                self.optimizer = Averaging(self.optimizer, weights, spec.train.average)
            self.strategy = build("train.gradient", spec.train.gradient, GradientStrategy, weights=weights)
            trunk = self.model.trunk
            trunk.constant = (trunk.loops - getattr(self.strategy, "loops", trunk.loops)) * len(trunk.layers)
            self.selector = build(
                "data.selector", spec.data.selector, DataSelector, **self.data.to_choose_from(spec.data),
                batch=spec.train.batch, seed=spec.seed,
            )  # fmt: skip
            # by folder, so that a run which is start and reference at once is charged once
            parents = getattr(start, "parents", {}) | getattr(self.selector, "parents", {})
            for cost in parents.values():
                self.parents_cost.update(cost)
        self.step = self.tokens = self._seen = 0
        self._rows = np.zeros(spec.model.depth)
        self.unread: list[Step] = []
        self.every = spec.train.log_every or (1 if self.device.type == "cpu" else READ_EVERY)
        pure = "data-parallel" in spec.train.gradient.entry.provides and not self.selector.state()
        if self.processes.size > 1 or not pure or not hasattr(self.optimizer, "found_inf"):
            self.every = 1
        self._found_inf = torch.zeros((), device=self.device)
        if self.every > 1:
            self.optimizer.found_inf = self._found_inf  # type: ignore[attr-defined]

    def learn(self) -> None:
        """One step: choose windows, differentiate, update; then it is `unread`.

        Where `every` is 1, its numbers are read before the update, which a step that is not finite does not
        get. Else the device decides that, and from such a step on nothing changes until it is read.
        """
        meter = self.meter
        self._rows[:], self._seen = 0, 0
        self.processes.align(self.model)
        self.model.anneal(self.progress())
        context, windows, batch = self.choose()
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()] if self.every > 1 else []
        with meter.phase("backward"):
            result = self.strategy.gradients(self.step, batch, self._objective)
            result = self.processes.average(result, self.parameters)
            self.data.feed(windows, self.model, self.device)
        with meter.phase("optimizer", "clip", weights=self._with_gradient()):
            norm = clip(self.parameters, self.spec.train.clip).to(self.device)
        seen, *computed = np.sum(self.processes.gather([self._seen, *self._rows]), 0)
        numbers = torch.stack([result.cross_entropy, norm, *result.penalties.values()]).detach()
        step = Step(
            context=context,
            windows=windows,
            window_losses=result.window_losses.detach().float().to("cpu", non_blocking=self.every > 1),
            numbers=numbers.to("cpu", non_blocking=self.every > 1),
            penalties=tuple(result.penalties),
            rows=tuple((np.array(computed) / max(seen, 1)).tolist()),
            generators=generators(self.device),
            tokens=self.tokens + windows.length * len(windows.starts),
        )
        self.unread.append(step)
        if self.every > 1:
            self._decide(numbers, buffers)
        elif step.wrong:
            return
        with meter.phase("optimizer", "update", weights=self._with_gradient()):
            step.rate = self.optimizer.update(self.step, context.progress)
        if self.every == 1:
            self._observe(step)
        self._finish(step)

    def read(self, keep: int = 0) -> tuple[list[StepReport], Step | None]:
        """Waits for the device: reports of the unread steps but the last `keep`, which keep it busy, up to
        one not finite; and that one, which is the next one again, unless `skip` passes over it."""
        count = len(self.unread) - keep
        steps, self.unread = self.unread[:count], self.unread[count:]
        self.meter.settle(steps[-1].seconds if keep and steps else None)
        good = list(takewhile(lambda step: not step.wrong, steps))
        for step in good if self.every > 1 else []:
            self._observe(step)
        reports = [step.report(self.spec.train.steps, self._progress) for step in good]
        if good == steps:
            return reports, None
        bad, self.unread = steps[len(good)], []
        windows, self.step = bad.windows, bad.context.step
        self.tokens = bad.tokens - windows.length * len(windows.starts)
        set_generators(bad.generators, self.device)
        self._found_inf.zero_()
        return reports, bad

    def skip(self, bad: Step) -> StepReport:
        """Goes on after a step that was not finite, without its update: the next one meets other windows."""
        for parameter in self.parameters:
            parameter.grad = None
        bad.rate = 0.0
        self._finish(bad)
        self.meter.settle()
        return bad.report(self.spec.train.steps, self._progress)

    def _decide(self, numbers: torch.Tensor, buffers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """On the device: whether updates are made from now on, and what buffers are: with those before."""
        for buffer, before in buffers:
            buffer.copy_(torch.where(self._found_inf > 0, before, buffer))
        finite = torch.isfinite(numbers[:2]).all()
        self._found_inf.copy_(torch.where(finite, self._found_inf, 1.0))

    def _observe(self, step: Step) -> None:
        with self.meter.phase("scoring", "lesson"):
            self.selector.observe(step.context, step.windows, step.window_losses.numpy())

    def _finish(self, step: Step) -> None:
        self.step, self.tokens = step.context.step + 1, step.tokens
        step.flops, step.seconds = self.spent()["flops"], self.meter.moment()

    def spent(self) -> dict[str, float]:
        """The flops and cpu_seconds of set-up and steps, of all processes."""
        names = ("flops", "cpu_seconds")
        own = [getattr(self.meter, name) + self.elsewhere[name] for name in names]
        return dict(zip(names, np.sum(self.processes.gather(own), 0).tolist(), strict=True))

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
        def score(some: Windows) -> Any:
            batch = self.data.batch(some, self.device)
            result, output = self._forward(batch)
            return selector_score(measure, result, output.logits, batch.targets).float().cpu().numpy()

        mine = self.processes.share(windows)
        with torch.no_grad(), self.meter.phase("scoring", "score", mine.length * len(mine.starts)):
            self.model.eval()  # without dropout
            scores = score(mine) if self.lockstep else in_halves(mine, score)
            self.model.train()
            if mine is windows:
                return scores
            return np.concatenate(self.processes.gather(scores.tolist())).astype(scores.dtype)

    def _forward(self, batch: Batch) -> tuple[BatchLoss, Output]:
        result, output = self._model_objective(self.model, batch, self.spec.train.precision)
        self._rows += output.rows
        self._seen += batch.inputs.numel()
        return result, output

    def _with_gradient(self) -> int:
        return sum(parameter.grad is not None for parameter in self.parameters)

    def measure(self, signals: Signals | None = None, *, most: int = 0) -> Evaluation:
        """The held-out loss, of the first `most` tokens if given, metered, by all processes together;
        training goes on as if it had not been measured. Raises Interrupted for a signal."""
        self.processes.align(self.model)
        window, precision = self.spec.data.window, self.spec.train.precision
        with same_draws(self.device), averaged(self.optimizer):
            return evaluate(
                self.model, self.data.beginning(most, window), window=window, precision=precision,
                meter=self.meter, processes=self.processes, lockstep=self.lockstep, signals=signals,
            )  # fmt: skip

    def progress(self) -> float:
        """The share of the budget that is spent, in [0, 1]; of seconds, as far as they are settled."""
        return self._progress(self.step, self.meter.seconds)

    def _progress(self, step: int, seconds: float) -> float:
        train = self.spec.train
        steps = step / train.steps if train.steps else 0.0
        return min(1.0, max(steps, seconds / train.seconds if train.seconds else 0.0))

    # ------------------------------------------------------------ saving and resuming

    def state(self) -> dict[str, Any]:
        """Its part of a `RunState`. All processes call it together."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "meter": self.meter.state(),
            "elsewhere": {name: total - getattr(self.meter, name) for name, total in self.spent().items()},
            "source": dict(self.parents_cost),
            "rng": generators(self.device),
            "selector": self.selector.state(),
            "strategy": self.strategy.state(),
            "tokenizer": self.data.tokenizer.state(),
            "corpus_sha256": self.data.text.sha256,
        }

    def load(self, saved: Checkpoint, path: Path) -> None:
        """The tensors of model and optimizer. `path` is for messages."""
        weights = dict(self.model.named_parameters())
        load_weights(self.model, distributed_as(weights, saved.model), path)
        self.optimizer.load_state_dict(distributed_as(weights, saved.optimizer))

    def restore(self, saved: Checkpoint, state: RunState, path: Path) -> None:
        """Goes on from a checkpoint: bitwise what the uninterrupted run would do. `path` is for messages."""
        state.check_text(self.data.text.sha256, self.data.tokenizer.state(), path)
        self.load(saved, path)
        self.selector.restore(dict(state.selector))
        self.strategy.restore(dict(state.strategy))
        set_generators(state.rng, self.device)
        self.step, self.tokens = state.step, state.tokens
        self.meter.restore(state.meter)
        self.parents_cost = Counter(state.source)
        if self.processes.first:
            self.elsewhere = Counter(state.elsewhere)
        else:  # the first process tells what all had spent
            self.elsewhere = Counter({name: -getattr(self.meter, name) for name in state.elsewhere})
