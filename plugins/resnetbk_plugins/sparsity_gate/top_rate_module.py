"""The torch module of `top-rate`."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor, nn

from resnetbk.kinds import Keep, Rows, with_role
from resnetbk_plugins.sparsity_gate.fill import FilledGate
from resnetbk_plugins.sparsity_gate.scores import projected, real_values, straight_through

RATE = 0.3
"""Step size of the threshold towards each batch's quantile, as a share of the distance."""


class Score(nn.Module):
    """A row's score above the threshold, weight . row / rms(row) - threshold.

    At initialisation scores are about standard normal, and the threshold is the quantile of that.
    """

    threshold: Tensor

    def __init__(self, width: int, density: float) -> None:
        super().__init__()
        self.density = density
        self.weight = with_role(nn.Parameter(torch.randn(width) * width**-0.5), "vector")
        self.register_buffer("threshold", torch.tensor(-NormalDist().inv_cdf(density)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, D) -> (B, M), fp32 or better."""
        return projected(x, self.weight[None])[..., 0] - self.threshold

    @torch.no_grad()
    def follow(self, margin: Tensor) -> None:
        """Moves the threshold towards that at which a share `density` of the rows (R,) would be computed."""
        if margin.numel():
            below = math.ceil((1 - self.density) * margin.numel())
            self.threshold += RATE * margin.kthvalue(max(below, 1)).values


class TopRateGate(FilledGate):
    """A `Score` for each gated layer."""

    def __init__(self, width: int, layers: tuple[int, ...], scope: str, *, density: float, fill: int) -> None:
        super().__init__(width, layers, scope, fill)
        self.score = nn.ModuleDict({str(layer): Score(width, density) for layer in layers})

    def keep(self, layer: int, rows: Rows) -> Keep:
        """A mask (B, M); in training also weights of 1 that carry the gradient of sigmoid(score)."""
        if str(layer) not in self.score:
            return Keep()
        score: Score = self.score[str(layer)]  # type: ignore[assignment]
        margin = score(rows.x)
        if not self.training:
            return Keep(margin > 0)
        if torch.is_grad_enabled():
            score.follow(real_values(margin.detach(), rows))
        return Keep(margin > 0, straight_through(torch.sigmoid(margin)))
