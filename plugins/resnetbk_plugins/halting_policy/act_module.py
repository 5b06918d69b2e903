"""The torch module of `act`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from resnetbk.kinds import Finished, Rows, Stack
from resnetbk_plugins.halting_policy.halting_unit import halting_units
from resnetbk_plugins.halting_policy.live_rows import LiveRows


class ACTHalting(nn.Module):
    """A halting unit D -> D/2 -> 1 for each layer except the last of each stack, where all rows halt."""

    def __init__(
        self, width: int, stacks: Sequence[Stack], threshold: float, ponder: float, start: float, bias: float
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.ponder = self.last_ponder = ponder
        self.start = start
        self.units = halting_units(stacks, width, width // 2, bias)

    def anneal(self, progress: float) -> None:
        """Ponder costs nothing before `start`."""
        self.ponder = self.last_ponder if progress >= self.start else 0.0

    def begin(self, stack: int, rows: Rows) -> ACTPass:
        return ACTPass(self, rows)

    def chance(self, layer: int, rows: Tensor) -> Tensor:
        """(R, D) -> (R,) halting probabilities after a layer; 1 after the last."""
        if str(layer) in self.units:
            return torch.sigmoid(self.units[str(layer)](rows))
        return rows.new_ones(len(rows), dtype=torch.promote_types(rows.dtype, torch.float32))


class ACTPass:
    """With h_n the halting probability after layer n, and N the first n with h_1 + ... + h_n >= threshold, or
    the last layer: the remainder is R = 1 - (h_1 + ... + h_{N-1}), the row's output is
    h_1 x_1 + ... + h_{N-1} x_{N-1} + R x_N, and its cost N + R; through R the units learn to halt sooner.

    Of the rows still running: `_total` (R,) the sum of h so far, `_mixed` (R, D) that of h x. Outputs of
    halted rows are collected and put in their places at the end.
    """

    def __init__(self, policy: ACTHalting, rows: Rows) -> None:
        wide = torch.promote_types(rows.x.dtype, torch.float32)
        self._policy = policy
        self._x = rows.x
        self._live = LiveRows(rows)
        self._layers = 0
        self._total = rows.x.new_zeros(self._live.real, dtype=wide)
        self._mixed = rows.x.new_zeros(self._live.real, 1, dtype=wide)
        self._cost = rows.x.new_zeros((), dtype=wide)
        self._halted: list[tuple[Tensor, Tensor]] = []

    @property
    def running(self) -> Tensor | None:
        """(B, M) bool, or None as long as no row has halted."""
        return self._live.mask

    def observe(self, layer: int, x: Tensor) -> None:
        self._layers += 1
        rows = self._live.take(x)
        chance = self._policy.chance(layer, rows)
        rest = 1 - self._total
        total = self._total + chance
        stops = ~(total < self._policy.threshold)  # a row that is not finite too, which must not be hidden
        mixed = self._mixed + torch.where(stops, rest, chance)[:, None] * rows
        self._cost = self._cost + torch.where(stops, self._layers + rest, 0).sum()
        index = self._live.index
        gone, stay = self._live.halt(stops)
        self._halted.append((index[gone], mixed.index_select(0, gone)))
        self._total, self._mixed = total.index_select(0, stay), mixed.index_select(0, stay)

    def finish(self) -> Finished:
        """The weighted rows (B, M, D), padding zero, and the penalty `ponder`, a mean over rows."""
        if not self._halted:  # a stack without layers
            return Finished(self._x)
        index, rows = (torch.cat(parts) for parts in zip(*self._halted, strict=True))
        x = torch.zeros_like(self._x).flatten(0, 1).index_copy(0, index, rows.to(self._x.dtype))
        cost = self._cost / max(1, self._live.real)
        return Finished(x.view(self._x.shape), {"ponder": self._policy.ponder * cost})
