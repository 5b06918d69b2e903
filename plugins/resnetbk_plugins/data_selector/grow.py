"""Data selector `grow`: short windows first, longer ones as training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, gt, le, optional

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array
    from resnetbk.spec import Spec

MEASURE_EVERY = 10
"""Steps from one measurement of accuracy to the next."""


@attrs.frozen(kw_only=True)
class Grow:
    """Windows that double in length until they are data.window (sequence length warmup: Li et al. 2021,
    arXiv:2108.06084; in two stages: Press et al. 2020, arXiv:2012.15832). Early in training a model learns
    from the last few tokens, for which short windows suffice; they cost less where cost grows with length.

    start        least number of tokens in the first windows: data.window is halved as often as that allows
    until        share of the run after which windows are whole; each shorter length takes an equal part of it
    at_accuracy  in a task: accuracy at the labels of windows from which they double sooner. It is measured at
                 every tenth step, on its windows before they are trained on, for a third of its cost
    """

    start: int = attrs.field(default=32, validator=ge(1))
    until: float = attrs.field(default=0.5, validator=and_(gt(0.0), le(1.0)))
    at_accuracy: float | None = attrs.field(default=None, validator=optional(and_(gt(0.0), le(1.0))))

    def check(self, spec: Spec) -> None:
        if self.start > spec.data.window:
            raise ValueError(f"start = {self.start} must be at most data.window = {spec.data.window}")
        corpus = spec.data.corpus
        if self.at_accuracy and "labels" not in corpus.entry.provides:
            form = f'{{ use = "grow", start = {self.start}, until = {self.until} }}'
            raise ValueError(f"at_accuracy: {corpus.name!r} is no task and has no labels; write {form}")

    def build(self, *, tokens: Array, window: int, batch: int, seed: int) -> GrowSelector:
        """tokens (T,), as encoded. Raises UserError for fewer than window + 1 of them."""
        whole = Shuffle().build(tokens=tokens, window=window, batch=batch, seed=seed)
        return GrowSelector(whole, start=self.start, until=self.until, at_accuracy=self.at_accuracy)


class GrowSelector:
    """Cuts the whole windows that `shuffle` would choose into 2^n equal pieces, so that every step trains on
    the same tokens as there, except up to 2^n - 1 at the end of each whole window that 2^n does not divide.
    A pure function of seed, step, progress and `halvings`, the n of now, which only accuracy lessens."""

    def __init__(
        self, whole: ShuffleSelector, *, start: int, until: float, at_accuracy: float | None = None
    ) -> None:
        self.whole = whole
        self.first = self.halvings = max(0, (whole.window // start).bit_length() - 1)
        self.until = until
        self.at_accuracy = at_accuracy

    def select(self, context: SelectionContext) -> Windows:
        """starts (batch * 2^n,) int64, the pieces of one whole window side by side."""
        due = self.first - int(context.progress / self.until * self.first)
        halvings = max(0, min(self.halvings, due))
        windows = self._cut(context, halvings)
        if self.at_accuracy and halvings and context.step % MEASURE_EVERY == MEASURE_EVERY - 1:
            accuracies = context.score(windows, "accuracy")
            known = accuracies[np.isfinite(accuracies)]  # the beginning of an example may have no labels
            if len(known) and known.mean(dtype=np.float64) >= self.at_accuracy:
                self.halvings = halvings - 1
                return self._cut(context, self.halvings)
        return windows

    def _cut(self, context: SelectionContext, halvings: int) -> Windows:
        windows = self.whole.select(context)
        length = windows.length >> halvings
        starts = windows.starts[:, None] + length * np.arange(2**halvings)
        return Windows(starts=starts.reshape(-1), length=length)

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        """Losses change nothing here."""

    def state(self) -> dict[str, Array]:
        return {"halvings": np.array(self.halvings)} if self.at_accuracy else {}

    def restore(self, state: dict[str, Array]) -> None:
        self.halvings = int(state.get("halvings", self.first))
