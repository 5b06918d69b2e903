"""Data selector `shuffle`: exact epochs of windows that do not overlap. The identity of its kind.

One epoch cuts the T training tokens into `count` windows laid end to end, from an offset drawn for that
epoch, and goes through them in an order drawn for that epoch. Because of the offset the cuts are elsewhere
in every epoch, so no pair of neighbouring tokens is always separated, and every token is trained on. Both
draws come from a Philox stream keyed by (seed, epoch), so that batch number `step` is a pure function of
(seed, step): there is nothing to save, and resuming costs one permutation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from resnetbk.errors import UserError
from resnetbk.kinds import SelectionContext, Windows

if TYPE_CHECKING:
    from resnetbk.kinds import Array


@attrs.frozen(kw_only=True)
class Shuffle:
    """Every window of an epoch exactly once, in random order."""

    def build(self, *, tokens: Array, window: int, batch: int, seed: int) -> ShuffleSelector:
        """tokens (T,), as encoded. Raises UserError for fewer than window + 1 of them."""
        if len(tokens) < window + 1:
            raise UserError(
                f"data: a window of {window} needs a corpus of at least {window + 1} tokens; "
                f"this one has {len(tokens)}: make data.window smaller"
            )
        return ShuffleSelector(total=len(tokens), window=window, batch=batch, seed=seed)


class ShuffleSelector:
    """A batch may span two epochs; `count` is the number of windows in an epoch."""

    def __init__(self, *, total: int, window: int, batch: int, seed: int) -> None:
        self.window = window
        self.batch = batch
        self.seed = seed
        # One window fewer than fit, so that all epochs are equally long whatever the offset.
        self.count = max(1, total // window - 1)
        self.slack = total - 1 - self.count * window
        self._epoch = -1
        self._starts: Array = np.empty(0, np.int64)

    def select(self, context: SelectionContext) -> Windows:
        """starts (batch,) int64: the windows from number step * batch on."""
        return Windows(starts=self.starts(context.step * self.batch, self.batch), length=self.window)

    def starts(self, first: int, count: int) -> Array:
        """(count,) int64: the windows from number `first` on, counted over all epochs."""
        epochs, places = np.divmod(first + np.arange(count, dtype=np.int64), self.count)
        starts = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            starts[here] = self._order(int(epoch))[places[here]]
        return starts

    def _order(self, epoch: int) -> Array:
        """The starts (count,) of one epoch in their order; the latest epoch is cached."""
        if epoch != self._epoch:
            draw = np.random.Generator(np.random.Philox(np.random.SeedSequence((self.seed, epoch))))
            offset = draw.integers(self.slack + 1)
            self._starts = offset + self.window * draw.permutation(self.count)
            self._epoch = epoch
        return self._starts

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        """Losses change nothing here."""

    def state(self) -> dict[str, Array]:
        return {}

    def restore(self, state: dict[str, Array]) -> None:
        """There is nothing to restore."""
