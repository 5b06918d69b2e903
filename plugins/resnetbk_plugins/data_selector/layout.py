"""Windows at fixed places for a whole run, so that something can be stored about each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from resnetbk.kinds import Windows
from resnetbk_plugins.data_selector.shuffle import ShuffleSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array

APART = 2**63
"""Added to a seed it gives one that no spec has, for draws independent of those of `shuffle`."""


@attrs.frozen
class Layout:
    """`count` windows of `window` tokens, laid end to end from `offset` on."""

    offset: int
    window: int
    count: int

    @classmethod
    def like(cls, shuffle: ShuffleSelector) -> Layout:
        """As many windows as an epoch of `shuffle` has, from an offset that its seed decides."""
        offset = generator(shuffle.seed, 0).integers(shuffle.slack + 1)
        return cls(offset=int(offset), window=shuffle.window, count=shuffle.count)

    def windows(self, numbers: Array) -> Windows:
        """numbers (batch,), of any integer type, below `count`."""
        return Windows(starts=self.offset + self.window * numbers.astype(np.int64), length=self.window)

    def numbers(self, windows: Windows) -> Array:
        """(batch,) int64: the inverse of `windows`."""
        numbers: Array = (windows.starts - self.offset) // self.window
        return numbers


def generator(seed: int, draw: int) -> np.random.Generator:
    """For draw number `draw` of a selector: independent of all others, and of those of `shuffle`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed + APART, draw))))
