"""Resolution scheduler `flat`: one row per token in every layer. The identity of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from resnetbk.kinds import Rows, Stack, State

if TYPE_CHECKING:
    from torch import Tensor


@attrs.frozen(kw_only=True)
class Flat:
    """All layers form one stack at level 0."""

    def build(self, *, width: int, depth: int) -> FlatResolution:
        return FlatResolution(depth)


class FlatResolution:
    """Without parameters. With a single stack `down` and `up` are not called; they return rows unchanged."""

    def __init__(self, depth: int) -> None:
        self.stacks = (Stack(level=0, layers=tuple(range(depth))),)

    def down(self, level: int, rows: Rows, tokens: Tensor) -> Rows:
        return rows

    def up(self, level: int, fine: Rows, coarse: Rows) -> Rows:
        return coarse

    def initial_state(self, batch: int) -> State:
        return {}

    def down_step(self, level: int, row: Rows, token: Tensor, state: State) -> tuple[Rows, Tensor, State]:
        """Each row (B, 1, D) is a coarse row: the second result (B,) is True."""
        return row, row.position[:, 0] >= 0, state
