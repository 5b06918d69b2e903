"""The torch module of `random`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from resnetbk.kinds import Finished, Rows
from resnetbk_plugins.kernels.noise import drawn, uniform


class RandomRows(nn.Module):
    """Without parameters. `hazards`: for each stack, the probability to halt after each layer."""

    def __init__(self, hazards: Sequence[float], seed: int) -> None:
        super().__init__()
        self.hazards = hazards
        self.seed = seed

    def begin(self, stack: int, rows: Rows) -> RandomPass:
        return RandomPass(self, self.hazards[stack], rows)

    def chances(self, layer: int, position: Tensor) -> Tensor:
        """(B, M) int64 -> (B, M) in (0, 1), a random number for each layer and position."""
        if self.training:
            return drawn(position)
        # negative lanes differ from those of a gate with the same seed
        return uniform(self.seed, position.new_full((1, 1), -1 - layer), position)


class RandomPass:
    """One pass over one stack. `running` is None until the first layer has run."""

    running: Tensor | None = None

    def __init__(self, policy: RandomRows, hazard: float, rows: Rows) -> None:
        self._policy, self._hazard = policy, hazard
        self._x, self._position = rows.x, rows.position

    def observe(self, layer: int, x: Tensor) -> None:
        self._x = x
        if self._hazard:
            goes_on = self._policy.chances(layer, self._position) >= self._hazard
            self.running = goes_on if self.running is None else self.running & goes_on

    def finish(self) -> Finished:
        """The rows (B, M, D) after the last layer, and no penalties."""
        return Finished(self._x)
