"""The torch module of `gumbel`."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor, nn

from resnetbk.kinds import Keep, Rows, with_role
from resnetbk_plugins.kernels.noise import drawn
from resnetbk_plugins.sparsity_gate.fill import FilledGate
from resnetbk_plugins.sparsity_gate.scores import projected, real_values, straight_through

SPREAD = 1.5
"""Standard deviation of importances at initialisation."""


class Importance(nn.Module):
    """A row's importance, output . relu(hidden . row / rms(row)) + bias, initialised such that the share
    `density` of rows is above zero."""

    def __init__(self, width: int, hidden: int, density: float) -> None:
        super().__init__()
        self.hidden = with_role(nn.Parameter(torch.randn(hidden, width) * width**-0.5), "matrix")
        signs = torch.ones(hidden)
        signs[1::2] = -1  # so that means cancel, for an even width
        self.output = with_role(nn.Parameter(signs * SPREAD * (2 / hidden) ** 0.5), "vector")
        self.bias = with_role(nn.Parameter(torch.tensor(SPREAD * NormalDist().inv_cdf(density))), "scalar")

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, D) -> (B, M), fp32 or better."""
        hidden = projected(x, self.hidden).relu()
        with torch.autocast(x.device.type, enabled=False):
            importance: Tensor = hidden @ self.output.to(hidden.dtype) + self.bias
        return importance


class GumbelGate(FilledGate):
    """An `Importance` for each gated layer."""

    def __init__(
        self,
        width: int,
        layers: tuple[int, ...],
        scope: str,
        *,
        density: float,
        fill: int,
        hidden: int,
        temperatures: tuple[float, float],
        weight: float,
    ) -> None:
        super().__init__(width, layers, scope, fill)
        self.density, self.weight, self.temperatures = density, weight, temperatures
        self.temperature = temperatures[0]
        self.importance = nn.ModuleDict({str(layer): Importance(width, hidden, density) for layer in layers})

    def anneal(self, progress: float) -> None:
        """The temperature falls geometrically from the first to the last."""
        first, last = self.temperatures
        self.temperature = first * (last / first) ** progress

    def keep(self, layer: int, rows: Rows) -> Keep:
        """A mask (B, M); in training also weights of 1 with the gradient, and the penalty `sparsity`."""
        if str(layer) not in self.importance:
            return Keep()
        logit = self.importance[str(layer)](rows.x)
        if not self.training:
            return Keep(logit > 0)
        u = drawn(rows.position)
        noisy = logit + (u.log() - (-u).log1p())
        soft = torch.sigmoid(noisy / self.temperature)
        return Keep(noisy > 0, straight_through(soft), {"sparsity": self._penalty(real_values(logit, rows))})

    def _penalty(self, logit: Tensor) -> Tensor:
        """Squared deviations from the density: with noise, where a row is computed with probability
        sigmoid(logit), and without, where it is computed above zero, with the gradient of a sigmoid."""
        if not logit.numel():
            return logit.sum()
        noisy = torch.sigmoid(logit).mean()
        soft = torch.sigmoid(logit / self.temperature)
        sharp = ((logit > 0) + (soft - soft.detach())).mean()
        return self.weight * ((noisy - self.density) ** 2 + (sharp - self.density) ** 2)
