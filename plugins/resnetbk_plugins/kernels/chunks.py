"""The two recurrences over rows, parallel over chunks of rows, in plain torch.

Rows are cut into chunks whose length follows from the run-up alone. All chunks advance together, one row at
a time, and each first re-runs the rows just before its own: as many as it takes to forget where it started
(see `forgetting`). Where that does not pay there is one chunk: the plain recurrence. "Up" is from the last
row to the first.

Pairs (real part, imaginary part) of (B, N, C) come in and go out. Inside they stand in grids (rows of a
chunk, 2, chunks, B, C), so that a row of all chunks is one piece of memory and few torch calls serve it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
# (one row of each grid, the state before it, where the state after it goes), (2, chunks, B, C) each
Step = Callable[[list[Tensor], Tensor, Tensor], None]


def _ratio(row: list[Tensor], before: Tensor, after: Tensor) -> None:
    torch.sub(row[0][0], before[0], out=after[0])
    torch.add(row[0][1], before[1], out=after[1])
    squares = after * after
    after /= squares[0] + squares[1]


def _linear(row: list[Tensor], before: Tensor, after: Tensor) -> None:
    torch.add(row[0], before, out=after)
    by_real, by_imag = after * row[1][0], after * row[1][1]
    torch.sub(by_real[0], by_imag[1], out=after[0])
    torch.add(by_real[1], by_imag[0], out=after[1])


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
        self.missing = self.chunks * self.rows - self.length  # in the chunk where the scan ends

    def ratios(self, potential: Tensor, eta: Tensor) -> Pair:
        """g_i = 1 / (potential_i - i eta - g_{i-1})."""
        return self._run(_ratio, [self._cut(potential, eta.expand_as(potential))])

    def linear(self, factor: Pair, x: Pair) -> Pair:
        """s_i = factor_i (x_i + s_{i-1})."""
        return self._run(_linear, [self._cut(*x), self._cut(*factor)])

    def _run(self, step: Step, grids: list[Tensor]) -> Pair:
        """The states after each row, from state 0; they take the place of the first grid."""
        rows = [list(row) for row in zip(*(grid.unbind(0) for grid in grids), strict=True)]
        if self.up:
            rows.reverse()
        state = grids[0].new_zeros(2, self.chunks, self.batch, self.chains)
        if self.chunks > 1:
            # every chunk but the one where the scan starts takes its first state from its neighbour
            source, target = (slice(1, None), slice(-1)) if self.up else (slice(-1), slice(1, None))
            started = state[:, target]
            for row in rows[-self.run_up :]:
                step([x[:, source] for x in row], started, started)
        for row in rows:
            step(row, state, row[0])
            state = row[0]
        return self._join(grids[0])

    def _cut(self, *parts: Tensor) -> Tensor:
        """A grid of the rows; where rows are missing it holds ones, which reach no result."""
        grid = parts[0].new_empty(self.rows, 2, self.chunks, self.batch, self.chains)
        if self.missing:
            (grid[: self.missing, :, 0] if self.up else grid[-self.missing :, :, -1]).fill_(1.0)
        for part, x in enumerate(parts):
            for rows, cells in self._pieces(x, grid[:, part]):
                cells.copy_(rows)
        return grid

    def _join(self, grid: Tensor) -> Pair:
        parts = [grid.new_empty(self.batch, self.length, self.chains) for _ in range(2)]
        for part, x in enumerate(parts):
            for rows, cells in self._pieces(x, grid[:, part]):
                rows.copy_(cells)
        return parts[0], parts[1]

    def _pieces(self, x: Tensor, grid: Tensor) -> Iterator[Pair]:
        """The same entries as views of x and of the grid: the full chunks, then the one that is not."""
        cells = grid.permute(2, 1, 0, 3)
        full = self.chunks - bool(self.missing)
        if self.up:
            edge = self.length - full * self.rows
            short, whole, whole_cells = x[:, :edge], x[:, edge:], cells[:, self.chunks - full :]
        else:
            edge = full * self.rows
            whole, short, whole_cells = x[:, :edge], x[:, edge:], cells[:, :full]
        yield whole.unflatten(1, (full, self.rows)), whole_cells
        if self.missing:
            yield short, cells[:, 0, self.missing :] if self.up else cells[:, -1, : -self.missing]
