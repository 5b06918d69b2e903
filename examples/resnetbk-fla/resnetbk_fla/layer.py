"""A layer of flash-linear-attention as a sequence mixer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnetbk.errors import UserError


def needs_cuda() -> None:
    """UserError where the kernels of flash-linear-attention cannot run."""
    if not torch.cuda.is_available():
        raise UserError("the kernels of flash-linear-attention need a CUDA GPU, and this machine has none")


class FlaMixer(nn.Module):
    """Padding comes last and the layer is causal, so padding is never seen.

    layer   maps (B, M, D) to a tuple that begins with (B, M, D)
    output  its last projection, which starts at zero as in all mixers
    """

    def __init__(self, layer: nn.Module, output: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        nn.init.zeros_(output.weight)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D)."""
        return self.layer(x)[0]
