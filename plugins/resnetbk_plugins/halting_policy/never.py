"""Halting policy `never`: every row goes through every layer. The identity of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from resnetbk.kinds import Finished, Rows, Stack

if TYPE_CHECKING:
    from torch import Tensor


@attrs.frozen(kw_only=True)
class Never:
    """No row ever halts; the output of a stack is that of its last layer."""

    def build(self, *, width: int, stacks: Sequence[Stack]) -> NeverHalting:
        return NeverHalting()


class NeverHalting:
    """Without parameters."""

    def begin(self, stack: int, rows: Rows) -> NeverPass:
        return NeverPass(rows.x)


class NeverPass:
    """One pass over one stack: `running` is None throughout, for all rows (B, M)."""

    running: Tensor | None = None

    def __init__(self, x: Tensor) -> None:
        self._x = x

    def observe(self, layer: int, x: Tensor) -> None:
        self._x = x

    def finish(self) -> Finished:
        """The rows (B, M, D) after the last layer, and no penalties."""
        return Finished(self._x)
