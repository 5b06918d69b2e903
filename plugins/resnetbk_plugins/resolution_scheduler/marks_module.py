"""The torch module of `marks`."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F

from resnetbk.kinds import Rows, Stack, State
from resnetbk_plugins.resolution_scheduler.boundary_module import POOLED, Pooling
from resnetbk_plugins.sparsity_gate.scores import real_values, straight_through
from resnetbk_plugins.sparsity_gate.top_rate_module import Score


class MarkedResolution(Pooling):
    """Coarse rows begin where `score` is above its threshold, and at the first row.

    In training coarse row j is w_j x_j + (1 - w_j) x_{j-1}, H-Net's smoothing, with a w_j that is exactly 1
    and has the gradient of sigmoid(score): scores rise where it would hurt to read the row before instead.
    """

    def __init__(self, width: int, stacks: tuple[Stack, ...], rate: float, until: float) -> None:
        super().__init__(width, stacks)
        self.score = Score(width, rate)
        self.rate, self.until = rate, until

    def anneal(self, progress: float) -> None:
        """The share of marked rows falls linearly from 1 to `rate`."""
        self.score.density = max(self.rate, 1 - (1 - self.rate) * progress / self.until)

    def down(self, level: int, rows: Rows, tokens: Tensor) -> Rows:
        """(B, N, D) -> (B, W, D): as many rows as the sequence with the most marks has."""
        margin = self.score(rows.x)
        if self.training and torch.is_grad_enabled():
            self.score.follow(real_values(margin.detach(), rows))
        coarse, packing = self._gathered(rows, (margin > 0) | (rows.position == 0))
        if not self.training:
            return coarse
        weight = straight_through(packing.pad(packing.take(torch.sigmoid(margin))))[..., None].to(
            coarse.x.dtype
        )
        before = F.pad(coarse.x[:, :-1], (0, 0, 1, 0))
        return attrs.evolve(coarse, x=coarse.x + (weight - 1) * (coarse.x - before))

    def initial_state(self, batch: int) -> State:
        """The rows before, (B, POOLED - 1, D): zeros."""
        return {"before": self.pool.new_zeros(batch, POOLED - 1, self.pool.shape[0])}

    def down_step(self, level: int, row: Rows, token: Tensor, state: State) -> tuple[Rows, Tensor, State]:
        """The coarse row (B, 1, D) that each row would begin, and whether it does."""
        begins = (self.score(row.x) > 0) | (row.position == 0)
        coarse, before = self._gathered_step(row, state["before"])
        return coarse, begins[:, 0], {"before": before}
