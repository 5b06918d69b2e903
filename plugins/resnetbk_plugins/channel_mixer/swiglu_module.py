"""The torch module of `swiglu`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import Penalties
from resnetbk_plugins.channel_mixer.mlp_module import FUNCTIONS

MULTIPLE = 8
"""Of hidden units: what matrix units like."""


class GatedMLP(nn.Module):
    """output(activation(gate(x)) * expand(x)), with 2/3 expansion * width hidden units, rounded to a multiple
    of 8, at least 8. Rows are multiplied by both matrices at once, which Muon treats apart."""

    def __init__(self, width: int, expansion: float, activation: str, bias: bool, dropout: float) -> None:
        super().__init__()
        hidden = MULTIPLE * max(1, round(2 / 3 * expansion * width / MULTIPLE))
        self.activation = FUNCTIONS[activation]
        self.gate = nn.Linear(width, hidden, bias=bias)
        self.expand = nn.Linear(width, hidden, bias=bias)
        self.output = nn.Linear(hidden, width, bias=bias)
        self.dropout = nn.Dropout(dropout)
        for projection in (self.gate, self.expand):
            nn.init.normal_(projection.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)
        if bias:
            for projection in (self.gate, self.expand, self.output):
                nn.init.zeros_(projection.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Penalties]:
        """(R, D) -> (R, D), no penalties."""
        parts = (self.gate, self.expand)
        bias = None if self.gate.bias is None else torch.cat([part.bias for part in parts])
        gate, hidden = F.linear(x, torch.cat([part.weight for part in parts]), bias).chunk(2, dim=-1)
        return self.dropout(self.output(self.activation(gate) * hidden)), {}
