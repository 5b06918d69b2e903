"""The torch module of `mlp`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import Penalties


def relu2(x: Tensor) -> Tensor:
    """max(x, 0)^2."""
    return F.relu(x).square()


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu2": relu2,
    "gelu": F.gelu,
    "gelu-tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


class DenseMLP(nn.Module):
    """output(activation(expand(x))), with expansion * width hidden units, rounded, at least one."""

    def __init__(
        self, width: int, expansion: float, activation: str, bias: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        hidden = max(1, round(expansion * width))
        self.activation = FUNCTIONS[activation]
        self.expand = nn.Linear(width, hidden, bias=bias)
        self.output = nn.Linear(hidden, width, bias=bias)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.expand.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)
        if bias:
            nn.init.zeros_(self.expand.bias)
            nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Penalties]:
        """(R, D) -> (R, D), no penalties."""
        return self.dropout(self.output(self.activation(self.expand(x)))), {}
