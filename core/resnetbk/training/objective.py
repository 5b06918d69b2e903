"""What is minimised, and how it is measured on held-out text."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext

import attrs
import torch
from torch.nn import functional as F

from resnetbk.kinds import Batch, Objective
from resnetbk.model.language_model import LanguageModel
from resnetbk.training.data import Data
from resnetbk.training.meter import Meter

TOKENS_PER_PASS = 8192
"""Held-out tokens in one forward pass: fixed, so that a loss does not depend on the training batch."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """bf16 mixed precision, or nothing for fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def objective(model: LanguageModel, batch: Batch, precision: str) -> tuple[Objective, tuple[int, ...]]:
    """Cross-entropy in nats (taken in fp32) plus penalties, and the rows each layer computed."""
    with autocast(batch.inputs.device, precision):
        output = model(batch.inputs)
    losses = F.cross_entropy(
        output.logits.flatten(0, 1).float(), batch.targets.flatten(), reduction="none"
    ).view(batch.targets.shape)
    cross_entropy = losses.mean()
    loss = cross_entropy + sum(output.penalties.values())
    penalties = {name: value.detach() for name, value in output.penalties.items()}
    return Objective(loss, cross_entropy.detach(), losses.detach().mean(1), penalties), output.rows


@attrs.frozen
class Evaluation:
    """loss in nats a token, over every held-out token; bits_per_byte compares across tokenizers."""

    loss: float
    bits_per_byte: float
    tokens: int
    seconds: float


@torch.inference_mode()
def evaluate(
    model: LanguageModel, data: Data, *, window: int, precision: str, meter: Meter | None = None
) -> Evaluation:
    """The loss on the whole held-out part; the same number every time at one thread count."""
    started = time.perf_counter()
    device = model.embedding.weight.device
    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    for batch in data.held_out(window, max(1, TOKENS_PER_PASS // window), device):
        size = batch.targets.numel()
        with meter.phase("evaluation", tokens=size) if meter else nullcontext():
            result, _ = objective(model, batch, precision)
            total += float(result.cross_entropy.double()) * size
        tokens += size
    model.train(was_training)
    bits = total / math.log(2) / max(data.held_out_bytes, 1)
    return Evaluation(total / tokens, bits, tokens, time.perf_counter() - started)
