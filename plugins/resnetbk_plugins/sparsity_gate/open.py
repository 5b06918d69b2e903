"""Sparsity gate `open`: every layer computes every row. The identity of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from resnetbk.kinds import Keep, Rows, State

if TYPE_CHECKING:
    from torch import Tensor


@attrs.frozen(kw_only=True)
class Open:
    """All rows are computed, without weights or penalties."""

    def build(self, *, width: int, depth: int) -> OpenGate:
        return OpenGate()


class OpenGate:
    """Without parameters and state."""

    scope = "layer"

    def keep(self, layer: int, rows: Rows) -> Keep:
        return Keep()

    def fill(self, layer: int, before: Tensor, after: Tensor, keep: Keep) -> Tensor:
        """`after` (B, M, D), in which all rows were computed."""
        return after

    def initial_state(self, batch: int) -> State:
        return {}

    def fill_step(
        self, layer: int, before: Tensor, after: Tensor, keep: Keep, state: State
    ) -> tuple[Tensor, State]:
        return after, state
