"""Text of three kinds, and a simulated model that learns what is learnable: for tests of data selectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resnetbk.kinds import SelectionContext, Windows
from resnetbk.runs import state

KINDS = ("easy", "learnable", "noise")
KIND_TOKENS = 4096

_DRAW = np.random.default_rng(0)
_WORDS = _DRAW.integers(97, 123, (48, 6)).astype(np.uint8)
TEXTS = {
    "easy": np.resize(np.frombuffer(b"ab", np.uint8), KIND_TOKENS),
    "learnable": _WORDS[_DRAW.integers(0, len(_WORDS), KIND_TOKENS // 6 + 1)].reshape(-1)[:KIND_TOKENS],
    "noise": _DRAW.integers(0, 256, KIND_TOKENS).astype(np.uint8),
}
TOKENS = np.concatenate([TEXTS[kind] for kind in KINDS])
"""(3 KIND_TOKENS,): one after the other."""


def kinds(windows: Windows) -> np.ndarray:
    """(batch,) the index in KINDS of the middle of each window."""
    return (windows.starts + windows.length // 2) // KIND_TOKENS


class Pupil:
    """Its loss on a kind falls from ln 256 to `irreducible` with the number of windows trained on."""

    irreducible = np.array([0.0, 0.6, np.log(256)])
    half = np.array([20.0, 200.0, 1.0])
    """Windows of a kind after which half of the reducible loss is gone."""

    def __init__(self) -> None:
        self.trained = np.zeros(3)
        self.scored = 0

    def score(self, windows: Windows, measure: str = "loss") -> np.ndarray:
        self.scored += len(windows.starts)
        loss = self.losses(windows)
        return -loss if measure == "margin" else loss

    def losses(self, windows: Windows) -> np.ndarray:
        loss = self.irreducible + (np.log(256) - self.irreducible) * 0.5 ** (self.trained / self.half)
        return loss[kinds(windows)].astype(np.float32)

    def learn(self, windows: Windows) -> None:
        self.trained += np.bincount(kinds(windows), minlength=3)


def train(selector: Any, steps: int, pupil: Pupil | None = None) -> np.ndarray:
    """(steps, batch) starts, as the trainer would ask for them."""
    pupil, starts = pupil or Pupil(), []
    for step in range(steps):
        context = SelectionContext(step=step, progress=step / steps, score=pupil.score)
        windows = selector.select(context)
        losses = pupil.losses(windows)
        pupil.learn(windows)
        selector.observe(context, windows, losses)
        starts.append(windows.starts)
    return np.stack(starts)


def fickle(step: int) -> Callable[..., np.ndarray]:
    """Scores that depend on window, step and measure alone, in no order."""

    def score(windows: Windows, measure: str = "loss") -> np.ndarray:
        mixed = (windows.starts * 2654435761 + step * 40503 + len(measure) * 97) % 1009
        return (1.0 + mixed / 1009).astype(np.float32)

    return score


def play(selector: Any, steps: range, total: int) -> list[np.ndarray]:
    """The starts of some steps of `total`, with losses from `fickle`."""
    starts = []
    for step in steps:
        context = SelectionContext(step=step, progress=step / total, score=fickle(step))
        windows = selector.select(context)
        selector.observe(context, windows, fickle(step)(windows))
        starts.append(windows.starts)
    return starts


def saved(tree: Any) -> Any:
    """A state after a round trip through a checkpoint."""
    return state.join(*state.split(tree))
