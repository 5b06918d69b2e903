"""Data selector `grow`: short windows first, longer ones as training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, gt, le

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Grow:
    """Windows that double in length until they are data.window (sequence length warmup: Li et al. 2021,
    arXiv:2108.06084; in two stages: Press et al. 2020, arXiv:2012.15832). Early in training a model learns
    from the last few tokens, for which short windows suffice; they cost less where cost grows with length.

    start  least number of tokens in the first windows: data.window is halved as often as that allows
    until  share of the run after which windows are whole; each shorter length takes an equal part of it
    """

    start: int = attrs.field(default=32, validator=ge(1))
    until: float = attrs.field(default=0.5, validator=and_(gt(0.0), le(1.0)))

    def check(self, spec: Spec) -> None:
        if self.start > spec.data.window:
            raise ValueError(f"start = {self.start} must be at most data.window = {spec.data.window}")

    def build(self, *, tokens: Array, window: int, batch: int, seed: int) -> GrowSelector:
        """tokens (T,), as encoded. Raises UserError for fewer than window + 1 of them."""
        whole = Shuffle().build(tokens=tokens, window=window, batch=batch, seed=seed)
        return GrowSelector(whole, start=self.start, until=self.until)


class GrowSelector:
    """Cuts the whole windows that `shuffle` would choose into 2^n equal pieces, so that every step trains on
    the same tokens as there, except up to 2^n - 1 at the end of each whole window that 2^n does not divide.
    A pure function of seed, step and progress."""

    def __init__(self, whole: ShuffleSelector, *, start: int, until: float) -> None:
        self.whole = whole
        self.halvings = max(0, (whole.window // start).bit_length() - 1)
        self.until = until

    def select(self, context: SelectionContext) -> Windows:
        """starts (batch * 2^n,) int64, the pieces of one whole window side by side."""
        pieces = 2 ** max(0, self.halvings - int(context.progress / self.until * self.halvings))
        windows = self.whole.select(context)
        length = windows.length // pieces
        starts = windows.starts[:, None] + length * np.arange(pieces)
        return Windows(starts=starts.reshape(-1), length=length)

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        """Losses change nothing here."""

    def state(self) -> dict[str, Array]:
        return {}

    def restore(self, state: dict[str, Array]) -> None:
        """There is nothing to restore."""
