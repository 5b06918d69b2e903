"""The torch module of `saliency`."""

from __future__ import annotations

import math
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from resnetbk.kinds import Keep, Rows
from resnetbk.model.rows import real_rows
from resnetbk_plugins.sparsity_gate.fill import FilledGate

MEMORY = 0.8
"""Share of the moments of rows and gradients that stays at each step."""

RIDGE = 1e-4
"""Added to the mean squares of the features, which sum to 2."""


@register_flop_formula(torch.ops.aten._linalg_solve_ex)
def _solve_flops(a: torch.Size, b: torch.Size, *_: Any, **__: Any) -> int:
    """Of an LU decomposition of (n, n) and two triangular systems for each right-hand side."""
    n, sides = a[-1], b[-1] if len(b) == len(a) else 1
    return math.prod(a[:-2]) * (2 * n**3 // 3 + 2 * n**2 * sides)


class SaliencyGate(FilledGate):
    """Predicts by linear regression the chance that the gradient of a row is among the largest. Rows that are
    not computed pass unchanged. Learns in backward passes, and needs no gradient itself.

    moments  (D + 1, D + 2): running means of the products of features, with each other and with the outcome
    weight   (D + 1,) of the features
    decides  whether rows are left out already
    """

    moments: Tensor
    weight: Tensor
    decides: Tensor

    def __init__(self, width: int, layers: tuple[int, ...], density: float, explained: float) -> None:
        super().__init__(width, (), "layer", 0)
        self.layers, self.density, self.explained = layers, density, explained
        if layers:
            self.register_buffer("moments", torch.zeros(width + 1, width + 2))
            self.register_buffer("weight", torch.zeros(width + 1))
            self.register_buffer("decides", torch.tensor(False))
        self._decided: tuple[Rows, Keep] | None = None  # of a pass, between its first and last gated layer

    def anneal(self, progress: float) -> None:
        """Solves the regression anew, and begins to decide once it explains enough of the variance."""
        if self.layers:
            moments = self.moments / self.moments[-1, -2].clamp(min=1e-12)  # of the steps so far alone
            squares, products = moments[:, :-1], moments[:, -1]
            ridge = RIDGE * torch.eye(len(squares), device=squares.device)
            self.weight.copy_(torch.linalg.solve(squares + ridge, products))
            mean = products[-1]
            explained = (self.weight @ products - mean**2) / (mean - mean**2)  # not a number before any step
            self.decides |= explained >= self.explained

    def keep(self, layer: int, rows: Rows) -> Keep:
        """A mask (B, M), the same for all gated layers that see these rows."""
        if layer not in self.layers:
            return Keep()
        if layer == self.layers[0] or self._decided is None or self._decided[0].position is not rows.position:
            chance = (_features(rows.x) * self.weight).sum(-1)
            self._decided = rows, Keep((chance > self.density / 4) | ~self.decides)
        keep = self._decided[1]
        if layer == self.layers[-1]:
            self._decided = None
        return keep

    def fill(self, layer: int, before: Tensor, after: Tensor, keep: Keep) -> Tensor:
        """`after`. Its gradient behind the first gated layer says which rows mattered."""
        if layer != self.layers[0] or self._decided is None or not (self.training and after.requires_grad):
            return after
        rows = attrs.evolve(self._decided[0], x=before.detach())
        passed: Tensor = _Watched.apply(after, self, rows)
        return passed

    @torch.no_grad()
    def learn(self, rows: Rows, gradient: Tensor) -> None:
        """Rows before the first gated layer, and the gradient (B, M, D) behind it."""
        real = torch.ones_like(rows.position, dtype=torch.bool)
        if rows.length is not None:
            real = real_rows(rows.length, real.shape[1])
        norm, features = torch.linalg.vector_norm(gradient[real], dim=-1), _features(rows.x[real])
        if not len(norm):
            return
        least = norm.kthvalue(max(math.ceil((1 - self.density) * len(norm)), 1)).values
        both = torch.cat((features, (norm > least)[:, None].to(features.dtype)), -1)
        self.moments.lerp_((features.T @ both / len(both)).to(self.moments.dtype), 1 - MEMORY)


class _Watched(torch.autograd.Function):
    """Rows (B, M, D) unchanged, whose gradient teaches the gate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: SaliencyGate, rows: Rows) -> Tensor:
        ctx.gate, ctx.rows = gate, rows
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, out: Tensor) -> tuple[Tensor, None, None]:
        ctx.gate.learn(ctx.rows, out)
        return out, None, None


def _features(x: Tensor) -> Tensor:
    """(..., D) -> (..., D + 1), fp32 or better: the rows' directions, and 1."""
    x = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    x = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-6)
    return torch.cat((x, torch.ones_like(x[..., :1])), -1)
