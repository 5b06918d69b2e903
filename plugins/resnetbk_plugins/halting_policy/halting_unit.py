"""What the learned halting policies share: a unit that reads a row, and the rows that still run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import Rows, Stack, with_role
from resnetbk.model.rows import real_rows

NARROWEST = 8
"""Hidden numbers of a unit at least: fewer tell rows apart too badly to be calibrated."""


class HaltingUnit(nn.Module):
    """One logit a row: readout . gelu(hidden(norm(row))) + bias. It reads no other row."""

    def __init__(self, width: int, hidden: int, bias: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.hidden = nn.Linear(width, hidden)
        self.readout = with_role(nn.Parameter(torch.empty(hidden).uniform_(-1, 1) * hidden**-0.5), "vector")
        self.bias = with_role(nn.Parameter(torch.full((1,), bias)), "scalar")

    def forward(self, x: Tensor) -> Tensor:
        """(R, D) -> (R,) in the precision of the weights, under autocast too: what is compared must not be
        rounded further, and a half-precision product would be compiled for each R."""
        with torch.autocast(x.device.type, enabled=False):
            h = F.gelu(self.hidden(self.norm(x.to(self.readout.dtype))))
            wide = torch.promote_types(h.dtype, torch.float32)
            return h.to(wide) @ self.readout.to(wide) + self.bias.to(wide)


def units(stacks: Sequence[Stack], width: int, hidden: int, bias: float) -> nn.ModuleDict:
    """A unit for each layer by its number, but for the last one of a stack, after which all rows leave.

    Each layer has its own, since rows after different layers of these models are not alike.
    """
    inner = [layer for stack in stacks for layer in stack.layers[:-1]]
    return nn.ModuleDict({str(layer): HaltingUnit(width, max(NARROWEST, hidden), bias) for layer in inner})


def only(stacks: Sequence[Stack]) -> Stack:
    """The one stack of a policy with exits, which the head reads: rows of others it cannot read."""
    if len(stacks) != 1:
        raise ValueError(f"exits need one stack of layers, and there are {len(stacks)}")
    return stacks[0]


class Live:
    """The rows of one pass over one stack that have not halted; padding never runs.

    index  (R,) int64, rising, into the B*M rows
    mask   (B, M) bool, the same for the trunk; None while no real row has halted
    real   how many rows are no padding
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
        """(R,) -> (B, M), zero for rows that do not run."""
        if len(values) == self._shape[0] * self._shape[1]:
            return values.view(self._shape)
        flat = values.new_zeros(self._shape).flatten()
        return flat.index_copy(0, self.index, values).view(self._shape)

    def halt(self, stops: Tensor) -> tuple[Tensor, Tensor]:
        """Rows with `stops` (R,) bool run no more. Where those were among the R, and where the others."""
        gone, stay = stops.nonzero()[:, 0], (~stops).nonzero()[:, 0]
        if len(gone):
            self.index = self.index.index_select(0, stay)
            mask = torch.zeros(self._shape, dtype=torch.bool, device=stops.device)
            self.mask = mask.flatten().index_fill(0, self.index, True).view(self._shape)
        return gone, stay
