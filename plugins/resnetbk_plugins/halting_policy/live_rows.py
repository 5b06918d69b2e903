"""The rows that a halting policy has not halted yet."""

from __future__ import annotations

import torch
from torch import Tensor

from resnetbk.kinds import Rows
from resnetbk.model.rows import real_rows


class LiveRows:
    """The rows of one pass over one stack that have not halted; padding is not among them.

    index  (R,) int64, rising, into the B*M rows
    mask   (B, M) bool, the same for the trunk; None while no real row has halted
    real   number of rows that are not padding
    """

    mask: Tensor | None = None

    def __init__(self, rows: Rows) -> None:
        batch, present = rows.x.shape[:2]
        self._shape = (batch, present)
        self.index = torch.arange(batch * present, device=rows.x.device)
        if rows.length is not None:
            self.index = self.index[real_rows(rows.length, present).flatten()]
        self.real = len(self.index)

    def take(self, x: Tensor) -> Tensor:
        """(B, M, ...) -> (R, ...)."""
        flat = x.flatten(0, 1)
        return flat if len(self.index) == len(flat) else flat.index_select(0, self.index)

    def put(self, values: Tensor) -> Tensor:
        """(R,) -> (B, M), zero for rows that are not live."""
        if len(values) == self._shape[0] * self._shape[1]:
            return values.view(self._shape)
        flat = values.new_zeros(self._shape).flatten()
        return flat.index_copy(0, self.index, values).view(self._shape)

    def halt(self, stops: Tensor) -> tuple[Tensor, Tensor]:
        """Halts rows with `stops` (R,) bool. Returns the indices, among the R, of these and of others."""
        gone, stay = stops.nonzero()[:, 0], (~stops).nonzero()[:, 0]
        if len(gone):
            self.index = self.index.index_select(0, stay)
            mask = torch.zeros(self._shape, dtype=torch.bool, device=stops.device)
            self.mask = mask.flatten().index_fill(0, self.index, True).view(self._shape)
        return gone, stay
