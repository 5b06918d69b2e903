"""The torch module of `bk-moebius`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import State, with_role
from resnetbk_plugins.kernels import transfer, transfer_step
from resnetbk_plugins.sequence_mixer.short_convolution import ShortConvolution


class MoebiusChains(nn.Module):
    """y_i = f_i y_{i-1} q_i + (1 - f_i) u_i, or without values y_i = q_0 ... q_i, on each of C chains.

    f, q and u are read from the rows, q = normalize(W x + turn) with turn near the identity. The output row
    is output(norm(features) * silu(gate)), with y as features, or without values the rotation matrix of y,
    which -y has too. From the first row that is not finite on all are NaN; those before are untouched.
    """

    def __init__(
        self,
        width: int,
        chains: int,
        values: bool,
        gate_low: float,
        gate_high: float,
        convolution: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.chains, self.values = chains, values
        self.convolution = ShortConvolution(width, convolution) if convolution else None
        self.rotation = nn.Linear(width, 4 * chains, bias=False)
        # offsets are not biases of their layers: an initializer that clears biases leaves them
        turn = torch.zeros(4, chains)
        turn[0] = 2.0
        self.turn = with_role(nn.Parameter(turn), "vector")
        read = [self.rotation]
        if values:
            self.value = nn.Linear(width, 4 * chains, bias=False)
            self.forget = nn.Linear(width, chains, bias=False)
            low, high = (math.log(gate / (1 - gate)) for gate in (gate_low, gate_high))
            self.memory = with_role(nn.Parameter(torch.linspace(low, high, chains)), "vector")
            read += [self.value]
            nn.init.zeros_(self.forget.weight)
        features = (4 if values else 9) * chains
        self.gate = nn.Linear(width, features, bias=False)
        # without a learned scale: the output projection has one for each feature
        self.norm = nn.RMSNorm(features, elementwise_affine=False)
        self.output = nn.Linear(features, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        for layer in (*read, self.gate):
            nn.init.normal_(layer.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D). Padding comes last, so it is never seen."""
        f, q, u = self._rows(x if self.convolution is None else self.convolution(x))
        if not self.values:  # the state before the first row is 1
            u = torch.cat((q[:, :1], u[:, 1:]), dim=1)
        return self._features(x, transfer(f, q, u))

    def _rows(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., D) -> f (..., C), q, (1 - f) u (..., 4, C), at least float32; without values f = 1, u = 0."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        parts = (self.rotation, self.value, self.forget) if self.values else (self.rotation,)
        rows = F.linear(x, torch.cat([part.weight for part in parts]))
        turned, *others = rows.unflatten(-1, (-1, self.chains)).to(dtype).split((4, 4, 1)[: len(parts)], -2)
        q = unit(turned + self.turn.to(dtype))
        if not self.values:
            return torch.ones_like(q[..., 0, :]), q, torch.zeros_like(q)
        u, logit = others[0], others[1] + self.memory.to(dtype)
        return logit.sigmoid().squeeze(-2), q, (-logit).sigmoid() * u

    def initial_state(self, batch: int) -> State:
        """`quaternion` (B, 4, C), zeros or without values ones, and the convolution's previous rows."""
        dtype = torch.promote_types(self.turn.dtype, torch.float32)
        quaternion = torch.zeros(batch, 4, self.chains, dtype=dtype, device=self.turn.device)
        if not self.values:
            quaternion[:, 0] = 1.0
        state = {"quaternion": quaternion}
        if self.convolution is not None:
            state["rows"] = self.convolution.before(batch)
        return state

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) -> (B, D)."""
        after: State = {}
        mixed = x
        if self.convolution is not None:
            mixed, after["rows"] = self.convolution.step(x, state["rows"])
        y = transfer_step(*self._rows(mixed), state["quaternion"])
        after["quaternion"] = y if self.values else unit(y)
        return self._features(x, y), after

    def _features(self, x: Tensor, y: Tensor) -> Tensor:
        gate = F.silu(self.gate(x))
        if not self.values:
            y = rotation_matrix(unit(y))
        features = self.norm(y.flatten(-2)).to(gate.dtype)
        row: Tensor = self.dropout(self.output(features * gate))
        return row


def unit(q: Tensor) -> Tensor:
    """(..., 4, C) -> quaternions of norm 1, as `F.normalize`, which is slow over columns of four."""
    return q * q.square().sum(-2, keepdim=True).clamp_min(1e-24).rsqrt()


def rotation_matrix(q: Tensor) -> Tensor:
    """(..., 4, C) -> (..., 9, C): the matrix of v -> q v conj(q) of unit quaternions q, and of -q."""
    w, i, j, k = q.unbind(-2)
    return torch.stack(
        (
            1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w),
            2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w),
            2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j),
        ),
        dim=-2,
    )  # fmt: skip
