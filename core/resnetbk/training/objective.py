"""What is minimised, and how it is measured on held-out text."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from resnetbk.kinds import Batch, BatchLoss
from resnetbk.metering.depth import layers_run
from resnetbk.metering.meter import Meter
from resnetbk.model.language_model import LanguageModel, Output
from resnetbk.training.data import Data, in_windows
from resnetbk.training.device import precision_on
from resnetbk.training.processes import ALONE, Processes
from resnetbk.training.signals import Interrupted, Signals

if TYPE_CHECKING:
    from resnetbk.kinds import Array

TOKENS_PER_PASS = 8192
"""Held-out tokens in one forward pass: fixed, so that a loss does not depend on the training batch. On CUDA
one for each 2 MB of its memory, if that is more."""

WHOLE = 2**28
"""Most bytes of logits in fp32 that are in memory at once."""


def windows_per_pass(window: int, device: torch.device) -> int:
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    return max(1, min(max(TOKENS_PER_PASS, memory >> 21), 2**16) // window)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """bf16 mixed precision, or nothing for fp32; see `precision_on` for "auto"."""
    bf16 = precision_on(device, precision) == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


def objective(model: LanguageModel, batch: Batch, precision: str) -> tuple[BatchLoss, Output]:
    """Cross-entropy in nats (taken in fp32) plus penalties, and the model's output itself."""
    asked = batch.targets >= 0 if batch.labelled else None
    with autocast(batch.inputs.device, precision):
        output = model(batch.inputs, asked)
    weights = window_weights(batch.targets)
    losses = weights * token_losses(output.logits, batch.targets, asked)
    penalties = dict(output.penalties)
    learned = losses.mean()
    if exits := output.answers:
        parts = [exit.weight * weights * token_losses(exit.logits, batch.targets, asked) for exit in exits]
        learned = torch.stack([part.mean() for part in parts]).sum()
        calibration_losses = [
            _calibration_loss(exit.logits, exit.confidence, exits[-1].logits, asked)
            for exit in exits
            if exit.confidence is not None
        ]
        if calibration_losses:
            penalties["agreement"] = torch.stack(calibration_losses).sum()
    return (
        BatchLoss(
            learned + sum(penalties.values()),
            losses.detach().mean(),
            losses.detach().mean(1),
            {name: value.detach() for name, value in penalties.items()},
        ),
        output,
    )


def window_weights(targets: Tensor) -> Tensor:
    """(B, N) -> (B, N): by which a mean over a window is one over its targets that count, those from 0 up;
    all 1 where all do. A mean over windows is then the same whatever batches they are in."""
    counted = targets >= 0
    return counted * (targets.shape[1] / counted.sum(1, keepdim=True).clamp(min=1))


def token_losses(logits: Tensor, targets: Tensor, asked: Tensor | None = None) -> Tensor:
    """(B, N, V), or (R, V) of the R rows `asked`, (B, N) -> (B, N): nats/token, 0 where a target does not
    count. Large logits are in fp32 by parts alone, again in the backward pass."""
    if asked is not None:
        nats = token_losses(logits, targets[asked])
        return nats.new_zeros(targets.shape).masked_scatter(asked, nats)
    rows, flat, size = logits.flatten(0, -2), targets.flatten(), max(1, WHOLE // (4 * logits.shape[-1]))
    if len(rows) <= size:
        return _nats(rows, flat).view(targets.shape)
    parts = zip(torch.split(rows, size), torch.split(flat, size), strict=True)
    losses = [checkpoint(_nats, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    return torch.cat(losses).view(targets.shape)


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), targets, reduction="none")


def _calibration_loss(logits: Tensor, confidence: Tensor, last: Tensor, asked: Tensor | None) -> Tensor:
    """How badly an exit predicts that it agrees with the last exit: a proper score, so that it calibrates."""
    given = (confidence if asked is None else confidence[asked]).float()
    agrees = (logits.argmax(-1) == last.argmax(-1)).float()
    return F.binary_cross_entropy_with_logits(given, agrees, reduction="sum") / max(1, agrees.numel())


@attrs.frozen
class Evaluation:
    """The model on held-out text.

    loss           nats/token
    bits_per_byte  which compares across tokenizers; in a task bits/label
    tokens         evaluated
    seconds        that took
    rows           for each layer, the rows it computed for each token
    depths         the share of tokens for which 0, 1, ... all layers ran, halves rounded down
    accuracy       of a task's labels, the share answered right, by the likeliest token; None for other texts
    groups         the same for each group of labels there is; or nats/token of windows that begin in a part
    """

    loss: float
    bits_per_byte: float
    tokens: int
    seconds: float
    rows: tuple[float, ...]
    depths: tuple[float, ...]
    accuracy: float | None = None
    groups: Mapping[str, float] = attrs.field(factory=dict)

    @property
    def error(self) -> float:
        """What is to be low: the loss, in a task the error rate."""
        return self.loss if self.accuracy is None else 1 - self.accuracy


@torch.no_grad()  # in inference mode FSDP would gather weights that can never be trained
def evaluate(
    model: LanguageModel,
    data: Data,
    *,
    window: int,
    precision: str,
    meter: Meter | None = None,
    processes: Processes = ALONE,
    lockstep: bool = False,
    signals: Signals | None = None,
) -> Evaluation:
    """The loss on the held-out part, of which `processes` take shares; the same number every time at
    one thread count and number of processes. Raises Interrupted, in all of them, for a signal to one."""
    started = time.perf_counter()
    device = model.embedding.weight.device
    was_training = model.training
    model.eval()
    total, tokens, given_up = 0.0, 0, 0
    depth = len(model.trunk.layers) * model.trunk.loops
    rows, depths = np.zeros(depth), np.zeros(depth + 1)
    task, window = data.text.task, data.held_out_window(window)
    together = windows_per_pass(window, device)
    names = task.groups if task else tuple(data.text.parts)
    # by group: labels, and those answered right; or tokens, and their nats
    by_group = np.zeros((2, len(names) or 1))
    batches = enumerate(data.held_out(window, together, device))
    for a_round in zip_longest(*[batches] * processes.size):
        mine = a_round[processes.rank]
        if not mine and not lockstep:
            break
        number, batch = mine or a_round[0]  # as many passes as the others make
        given_up = signals.received if signals else 0
        if given_up and not lockstep:  # else others would wait for it
            break
        size = batch.targets.numel()
        with meter.phase("evaluation", tokens=size) if meter else nullcontext():
            result, output = objective(model, batch, precision)
        if not mine:
            break
        total += float(result.cross_entropy.double()) * size
        tokens += size
        rows += output.rows
        layers = layers_run(output.layers, batch.inputs.shape[1], output.documents)
        depths += layers.long().flatten().bincount(minlength=depth + 1).cpu().numpy()
        if task:
            right = (output.logits.argmax(-1) == batch.targets).flatten().cpu().numpy()
            asked = (batch.targets >= 0).flatten().cpu().numpy()
            first = number * together * window
            group = np.zeros(size, np.int64) if task.group is None else task.group[first : first + size]
            by_group += [np.bincount(group[of], minlength=by_group.shape[1]) for of in (asked, right)]
        elif names:
            first = min(number * together, (len(data.valid) - 1) // window)
            starts = (first + np.arange(len(batch.targets))) * window
            group = np.searchsorted(data.part_ends, starts, side="right")
            nats = batch.targets.shape[1] * np.stack([np.ones(len(starts)), result.window_losses.cpu()])
            by_group += [np.bincount(group, of, by_group.shape[1]) for of in nats]
    model.train(was_training)
    own = [given_up, time.perf_counter() - started, total, tokens, *rows, *depths, *by_group.flatten()]
    parts = processes.gather(own)
    if received := max(part[0] for part in parts):
        raise Interrupted(int(received), "interrupted in an evaluation, with which --resume goes on")
    seconds, (total, tokens, *counts) = parts[0][1], np.sum(parts, 0)[2:].tolist()
    bits = total / math.log(2) / (tokens if task else max(data.held_out_bytes, 1))
    shares = tuple(count / tokens for count in counts[: 2 * depth + 1])
    asked, right = np.array(counts[2 * depth + 1 :]).reshape(by_group.shape)
    return Evaluation(
        total / tokens, bits, int(tokens), seconds, shares[:depth], shares[depth:],
        accuracy=float(right.sum() / asked.sum()) if task else None,
        groups={name: float(of / n) for name, of, n in zip(names, right, asked, strict=False) if n},
    )  # fmt: skip


@torch.inference_mode()
def text_losses(model: LanguageModel, tokens: Array, *, window: int, precision: str) -> Array:
    """(T,) tokens -> (T - 1,) float32: nats for each token but the first, in the windows of `evaluate`."""
    was_training = model.training
    model.eval()
    device = model.embedding.weight.device
    losses = [np.empty(0, np.float32)]
    for batch in in_windows(tokens, window, windows_per_pass(window, device), device):
        with autocast(device, precision):
            logits = model(batch.inputs).logits
        losses.append(token_losses(logits, batch.targets).flatten().cpu().numpy())
    model.train(was_training)
    return np.concatenate(losses)
