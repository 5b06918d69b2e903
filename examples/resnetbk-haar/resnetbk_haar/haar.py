"""Sequence mixer `haar`: differences of neighbouring means at scales 1, 2, 4, .., in O(N levels)."""

from __future__ import annotations

import attrs
import torch
from attrs.validators import and_, ge, le
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import State, with_role


@attrs.frozen(kw_only=True)
class Haar:
    """Each row receives, for every scale w = 1, 2, 4, .., the mean of the last w rows minus that of the w
    rows before them: the detail of a Haar wavelet that ends at this row. Details have learned weights, one
    for each scale and channel; the sum is scaled by a gate read from the row.

    levels    number of scales: a row depends on the last 2^levels rows
    channels  number of channels that are transformed; 0 stands for the model's width
    """

    levels: int = attrs.field(default=7, validator=and_(ge(1), le(16)))
    channels: int = attrs.field(default=0, validator=ge(0))

    def build(self, *, width: int, depth: int) -> nn.Module:
        return HaarMixer(width, self.channels or width, self.levels)


class HaarMixer(nn.Module):
    """No constant depends on a length, so any length works. State: the last 2^levels values."""

    def __init__(self, width: int, channels: int, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.value = nn.Linear(width, channels, bias=False)
        self.gate = nn.Linear(width, channels)
        self.weights = with_role(
            nn.Parameter(torch.randn(levels + 1, channels) / (levels + 1) ** 0.5), "vector"
        )
        self.output = nn.Linear(channels, width, bias=False)
        for layer in (self.value, self.gate):
            nn.init.normal_(layer.weight, std=width**-0.5)
        nn.init.zeros_(self.gate.bias)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D). Padding comes last, so it is never seen."""
        value = self.value(x)
        total = value.to(torch.promote_types(value.dtype, torch.float32)).cumsum(1)
        mixed = self.weights[-1] * value
        for level in range(self.levels):
            scale = 2**level
            near, far = _back(total, scale), _back(total, 2 * scale)
            mixed = mixed + self.weights[level] * ((total - 2 * near + far) / scale).to(value.dtype)
        return self.output(mixed * torch.sigmoid(self.gate(x)))

    def initial_state(self, batch: int) -> State:
        """`last` (B, 2^levels, C): zeros for the rows before the first."""
        weight = self.value.weight
        return {"last": weight.new_zeros(batch, 2**self.levels, weight.shape[0])}

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) -> (B, D): the row that `forward` gives."""
        value = self.value(x)
        last = torch.cat([state["last"][:, 1:], value[:, None].to(state["last"].dtype)], 1)
        mixed = self.weights[-1] * value
        for level in range(self.levels):
            scale = 2**level
            near, far = last[:, -scale:], last[:, -2 * scale : -scale]
            mixed = mixed + self.weights[level] * (near.sum(1) - far.sum(1)) / scale
        return self.output(mixed * torch.sigmoid(self.gate(x))), {"last": last}


def _back(total: Tensor, rows: int) -> Tensor:
    """(B, M, C) shifted by `rows` rows, zeros before the first."""
    return F.pad(total, (0, 0, rows, 0))[:, : total.shape[1]]
