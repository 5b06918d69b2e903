"""The torch module of `gated-diagonal`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import State, with_role
from resnetbk_plugins.kernels import diagonal
from resnetbk_plugins.sequence_mixer.short_convolution import ShortConvolution

LONGEST = 128.0
"""The longest time constant at the start, in rows."""


class GatedAverages(nn.Module):
    """h_i = f_i h_{i-1} + (1 - f_i) u_i in each of C channels, f_i = sigmoid(forget(x_i) + forget_bias); the
    output row is output(norm(h) * silu(gate)), or without the gate. What is not finite stays in h from its
    row on."""

    def __init__(
        self, width: int, channels: int, output_gate: bool, convolution: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.convolution = ShortConvolution(width, convolution) if convolution else None
        self.forget = nn.Linear(width, channels, bias=False)
        # f = exp(-1 / time constant); apart from the layer, or half precision would round it
        time = torch.logspace(0.0, math.log10(LONGEST), channels)
        self.forget_bias = with_role(nn.Parameter(-(1 / time).expm1().log()), "vector")
        self.value = nn.Linear(width, channels, bias=False)
        self.gate = nn.Linear(width, channels, bias=False) if output_gate else None
        # without a learned scale: the output projection has one for each channel
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.output = nn.Linear(channels, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.forget, self.value, self.gate):
            if layer is not None:
                nn.init.normal_(layer.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D). Padding comes last, so it is never seen."""
        f, inflow = self._row(x if self.convolution is None else self.convolution(x))
        return self._features(x, diagonal(f, inflow))

    def initial_state(self, batch: int) -> State:
        """`h` (B, C) zeros, at least float32, and the convolution's previous rows."""
        dtype = torch.promote_types(self.forget_bias.dtype, torch.float32)
        h = torch.zeros(batch, len(self.forget_bias), dtype=dtype, device=self.forget_bias.device)
        state = {"h": h}
        if self.convolution is not None:
            state["rows"] = self.convolution.before(batch)
        return state

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) -> (B, D)."""
        after: State = {}
        mixed = x
        if self.convolution is not None:
            mixed, after["rows"] = self.convolution.step(x, state["rows"])
        f, inflow = self._row(mixed)
        after["h"] = f * state["h"] + inflow
        return self._features(x, after["h"]), after

    def _row(self, mixed: Tensor) -> tuple[Tensor, Tensor]:
        """f and (1 - f) u, in at least float32: half precision would round away what f near 1 lets go."""
        dtype = torch.promote_types(mixed.dtype, torch.float32)
        forget = self.forget(mixed).to(dtype) + self.forget_bias.to(dtype)
        return torch.sigmoid(forget), torch.sigmoid(-forget) * self.value(mixed).to(dtype)

    def _features(self, x: Tensor, h: Tensor) -> Tensor:
        y = self.norm(h)
        if self.gate is None:
            y = y.to(x.dtype)
        else:
            gate = F.silu(self.gate(x))
            y = y.to(gate.dtype) * gate
        row: Tensor = self.dropout(self.output(y))
        return row
