"""The torch module of `boundary`."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import Rows, Stack, State, with_role
from resnetbk.model.rows import Packing, real_rows

POOLED = 4
"""Fine rows that a coarse row reads. With only the last fine row, 120 steps at width 128 on tiny Shakespeare
ended 0.012 nats higher (one run each); the mean of all since the last boundary in addition gained 0.003."""


class Pooling(nn.Module):
    """A coarse row is a projection of the last `POOLED` fine rows up to where it begins, with zeros before
    the first. A fine row adds another projection of the last coarse row begun, normalised (RMSNorm).
    Initially coarse rows are means, and the second projection is zero.
    """

    def __init__(self, width: int, stacks: tuple[Stack, ...]) -> None:
        super().__init__()
        self.stacks = stacks
        self.pool = with_role(nn.Parameter(torch.eye(width).repeat(1, POOLED) / POOLED), "matrix")
        self.spread = with_role(nn.Parameter(torch.zeros(width, width)), "matrix")

    def up(self, level: int, fine: Rows, coarse: Rows) -> Rows:
        """fine.x plus the projection of the last coarse row at or before each position, (B, N, D)."""
        last = (torch.searchsorted(coarse.position, fine.position, right=True) - 1).clamp(min=0)
        read = F.linear(F.rms_norm(coarse.x, coarse.x.shape[-1:]), self.spread)
        return attrs.evolve(fine, x=fine.x + read.gather(1, last[..., None].expand_as(fine.x)))

    def _gathered(self, rows: Rows, begins: Tensor) -> tuple[Rows, Packing]:
        """(B, N, D), (B, N) bool -> the coarse rows (B, W, D) and their packing."""
        batch, count = begins.shape
        if rows.length is not None:
            begins = begins & real_rows(rows.length, count)
        packing = Packing(begins)
        padded = F.pad(rows.x, (0, 0, POOLED - 1, 0)).flatten(0, 1)
        places = torch.arange(begins.numel(), device=begins.device).view(begins.shape)
        index = packing.take(places)
        first = index + index // count * (POOLED - 1)
        windows = padded[first[:, None] + torch.arange(POOLED, device=first.device)]
        x = packing.pad(self._pooled(windows))
        # padding has positions after all tokens, so that positions rise and no fine row reads it
        behind = count + torch.arange(packing.width, device=begins.device)
        position = behind.repeat(batch, 1).flatten()
        position = position.index_copy(0, packing.slot, packing.take(rows.position)[: packing.rows])
        return Rows(x, position.view(batch, packing.width), packing.length), packing

    def _gathered_step(self, row: Rows, before: Tensor) -> tuple[Rows, Tensor]:
        """(B, 1, D) and the rows before it (B, POOLED - 1, D) -> the coarse row that it would begin, and the
        rows before the next."""
        window = torch.cat((before, row.x.to(before.dtype)), dim=1)
        return attrs.evolve(row, x=self._pooled(window)[:, None].to(row.x.dtype)), window[:, 1:]

    def _pooled(self, windows: Tensor) -> Tensor:
        """(R, POOLED, D) -> (R, D)."""
        return F.linear(windows.flatten(1), self.pool).to(windows.dtype)


class BoundaryResolution(Pooling):
    """Coarse rows begin at `boundaries`."""

    def __init__(self, width: int, stacks: tuple[Stack, ...], longest: int) -> None:
        super().__init__(width, stacks)
        self.longest = longest

    def down(self, level: int, rows: Rows, tokens: Tensor) -> Rows:
        """(B, N, D) -> (B, W, D): as many rows as the sequence with the most boundaries has."""
        return self._gathered(rows, boundaries(tokens, self.longest))[0]

    def initial_state(self, batch: int) -> State:
        """The rows before (B, POOLED - 1, D); whether the byte before was spacelike, and the position of
        the last word boundary, (B, 1) each."""
        device = self.pool.device
        return {
            "before": self.pool.new_zeros(batch, POOLED - 1, self.pool.shape[0]),
            "spacelike": torch.zeros(batch, 1, dtype=torch.bool, device=device),
            "word": torch.zeros(batch, 1, dtype=torch.int64, device=device),
        }

    def down_step(self, level: int, row: Rows, token: Tensor, state: State) -> tuple[Rows, Tensor, State]:
        """The coarse row (B, 1, D) that each byte would begin, and whether it does."""
        space = spacelike(token)
        ends = space & ~state["spacelike"] | (row.position == 0)
        word = torch.where(ends, row.position, state["word"])
        begins = (row.position - word) % self.longest == 0
        coarse, before = self._gathered_step(row, state["before"])
        return coarse, begins[:, 0], {"before": before, "spacelike": space, "word": word}


def spacelike(byte: Tensor) -> Tensor:
    """Where a byte is neither an ASCII letter or digit nor a UTF-8 continuation byte."""
    word = torch.zeros_like(byte, dtype=torch.bool)
    for first, last in ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0x80, 0xBF)):
        word |= (first <= byte) & (byte <= last)
    return ~word


def boundaries(tokens: Tensor, longest: int) -> Tensor:
    """(B, N) bytes -> (B, N) bool: where coarse rows begin, a causal function of the bytes."""
    space = spacelike(tokens)
    ends = space & ~F.pad(space[:, :-1], (1, 0))
    ends[:, :1] = True
    place = torch.arange(tokens.shape[1], device=tokens.device)
    word = torch.where(ends, place, 0).cummax(1).values
    return (place - word) % longest == 0
