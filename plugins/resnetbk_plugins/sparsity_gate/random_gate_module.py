"""The torch module of `random`."""

from __future__ import annotations

from resnetbk.kinds import Keep, Rows
from resnetbk_plugins.kernels.noise import drawn, uniform
from resnetbk_plugins.sparsity_gate.fill import FilledGate


class RandomGate(FilledGate):
    """Computes a row if a uniform random number is below `density`."""

    def __init__(
        self, width: int, layers: tuple[int, ...], scope: str, density: float, fill: int, seed: int
    ) -> None:
        super().__init__(width, layers, scope, fill)
        self.layers, self.density, self.seed = frozenset(layers), density, seed

    def keep(self, layer: int, rows: Rows) -> Keep:
        """A mask (B, M), independent of the rows' content."""
        if layer not in self.layers:
            return Keep()
        position = rows.position
        if self.training:
            return Keep(drawn(position) < self.density)
        return Keep(uniform(self.seed, position.new_full((1, 1), layer), position) < self.density)
