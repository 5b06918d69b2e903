"""The two recurrences over rows, parallel over chunks of rows, in plain torch.

Rows are cut into chunks whose length depends on the run-up alone. All chunks advance together, one row at
a time, and each first recomputes the rows just before its own: as many as it takes to forget the initial
state (see `forgetting`). Where that does not pay off there is one chunk: the plain recurrence. "Up" is from
the last row to the first.

Inputs and outputs are pairs (real part, imaginary part) of (B, N, C). Inside they are complex grids
(B, chunks, rows of a chunk, C), updated in place: two torch calls for a row of all chunks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
# (a row of each grid, the state before it, the output for the state after it), (B, chunks, C) each
Step = Callable[[list[Tensor], Tensor, Tensor], None]


def _ratio(row: list[Tensor], before: Tensor, after: Tensor) -> None:
    torch.sub(row[0], before, out=after)
    torch.reciprocal(after, out=after)


def _hopping(row: list[Tensor], before: Tensor, after: Tensor) -> None:
    _ratio(row, row[1] * before, after)


def _linear(row: list[Tensor], before: Tensor, after: Tensor) -> None:
    torch.add(row[0], before, out=after)
    torch.mul(after, row[1], out=after)


class Chunks:
    """(batch, length, chains) cut for recurrences that forget within `run_up` rows (None: never)."""

    def __init__(self, shape: torch.Size, run_up: int | None, up: bool) -> None:
        self.batch, self.length, self.chains = shape
        self.up = up
        if run_up is None or 2 * run_up >= self.length:
            self.run_up, self.rows, self.chunks = 0, self.length, 1
        else:
            self.run_up, self.rows = run_up, 2 * run_up
            self.chunks = -(-self.length // self.rows)
        # the chunk where the scan ends is padded on its far side
        missing = self.chunks * self.rows - self.length
        self.there = slice(missing, None) if up else slice(self.length)
        self.beyond = slice(missing) if up else slice(self.length, None)

    def ratios(self, potential: Tensor, eta: Tensor) -> Pair:
        """g_i = 1 / (potential_i - i eta - g_{i-1})."""
        return self._run(_ratio, [self._cut(potential, -eta)])

    def hopping(self, potential: Tensor, eta: Tensor, t: Tensor) -> Pair:
        """k_i = 1 / (potential_i - i eta - t_i k_{i-1})."""
        return self._run(_hopping, [self._cut(potential, -eta), self._cut(t, torch.zeros_like(t))])

    def linear(self, factor: Pair, x: Pair) -> Pair:
        """s_i = factor_i (x_i + s_{i-1})."""
        return self._run(_linear, [self._cut(*x), self._cut(*factor)])

    def _run(self, step: Step, grids: list[Tensor]) -> Pair:
        """The states after each row, from state 0; they overwrite the first grid."""
        cells = [grid.view(self.batch, self.chunks, self.rows, self.chains).unbind(2) for grid in grids]
        rows = [list(row) for row in zip(*cells, strict=True)]
        if self.up:
            rows.reverse()
        state = grids[0].new_zeros(self.batch, self.chunks, self.chains)
        if self.chunks > 1:
            # every chunk except the first in the scan gets its initial state from its neighbour
            neighbour, target = (slice(1, None), slice(-1)) if self.up else (slice(-1), slice(1, None))
            started = state[:, target]
            for row in rows[-self.run_up :]:
                step([x[:, neighbour] for x in row], started, started)
        for row in rows:
            step(row, state, row[0])
            state = row[0]
        real, imag = torch.view_as_real(grids[0][:, self.there]).unbind(-1)
        return real.clone(memory_format=torch.contiguous_format), imag.clone(
            memory_format=torch.contiguous_format
        )

    def _cut(self, real: Tensor, imag: Tensor) -> Tensor:
        """(B, chunks * rows, C) complex; padding is 1, which affects no result."""
        kind = real.dtype.to_complex()
        grid = real.new_empty(self.batch, self.chunks * self.rows, self.chains, dtype=kind)
        grid[:, self.beyond] = 1.0
        torch.complex(real, imag, out=grid[:, self.there])
        return grid
