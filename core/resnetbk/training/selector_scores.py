"""Scores of windows for data selectors: the measures that `SelectionContext.score` takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import numpy as np
from torch import Tensor

from resnetbk.errors import UserError, nearest
from resnetbk.exhausted import exhausted
from resnetbk.kinds import BatchLoss, Windows
from resnetbk.training.objective import window_weights

if TYPE_CHECKING:
    from resnetbk.kinds import Array

MEASURES = ("loss", "entropy", "margin", "accuracy")


def selector_score(measure: str, result: BatchLoss, logits: Tensor, targets: Tensor) -> Tensor:
    """(B,): `measure`, mean over the targets of each window that count, of the logits (B, N, V) behind
    `result`. A window without any has 0, but no accuracy: NaN.

    loss      cross-entropy of the targets, nats/token
    entropy   of the prediction, nats/token: large where the model is uncertain
    margin    of the likeliest token's probability over the next one's: small if it is uncertain; 1 if V = 1
    accuracy  whether the likeliest token is the target

    Raises UserError for another measure.
    """
    if measure == "loss":
        return result.window_losses
    if measure == "accuracy":
        return (logits.argmax(-1) == targets).sum(1) / (targets >= 0).sum(1)
    weights = window_weights(targets)
    if measure == "entropy":
        logs = logits.float().log_softmax(-1)
        return (weights * -(logs.exp() * logs).sum(-1)).mean(1)
    if measure == "margin":
        if logits.shape[-1] < 2:
            return logits.new_ones(len(logits))
        best = logits.float().softmax(-1).topk(2, -1).values
        return (weights * (best[..., 0] - best[..., 1])).mean(1)
    raise UserError(f"data.selector: cannot score by {measure!r}{nearest(measure, MEASURES)}")


def in_halves(windows: Windows, score: Callable[[Windows], Array]) -> Array:
    """(batch,) scores; in halves where memory runs out. UserError where one window does not fit."""
    try:
        return score(windows)
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not exhausted(error):
            raise
    if len(windows.starts) == 1:
        how = "make data.window or the model smaller"
        raise UserError(f"data.selector: memory does not suffice to score one window; {how}")
    halves = np.array_split(windows.starts, 2)
    return np.concatenate([in_halves(attrs.evolve(windows, starts=half), score) for half in halves])
