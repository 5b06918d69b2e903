"""A short causal depthwise convolution, which mixers apply before their scan."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnetbk.kinds import with_role
from resnetbk_plugins.kernels import causal_convolution


class ShortConvolution(nn.Module):
    """x_i -> the weighted sum of x_i and the `size` - 1 rows before it, with weights per channel (Fu et al.
    2022, arXiv:2212.14052). Initialised to the identity."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.weight = with_role(nn.Parameter(torch.zeros(size, width)), "convolution")  # newest row last
        with torch.no_grad():
            self.weight[-1] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, D) -> (B, M, D); before the first row there are zeros."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return causal_convolution(x.to(dtype), self.weight.to(dtype)).to(x.dtype)

    def before(self, batch: int) -> Tensor:
        """(B, size - 1, D): no rows yet."""
        size, width = self.weight.shape
        return self.weight.new_zeros(batch, size - 1, width)

    def step(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) and the rows before -> (B, D) and the rows before the next."""
        rows = torch.cat((before, x[:, None].to(before.dtype)), dim=1)
        mixed = rows[:, 0] * self.weight[0]
        for back in range(1, rows.shape[1]):
            mixed = mixed + rows[:, back] * self.weight[back]
        return mixed.to(x.dtype), rows[:, 1:]
