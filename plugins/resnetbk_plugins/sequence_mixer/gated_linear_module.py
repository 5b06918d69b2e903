"""The torch module of `gated-linear`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import State, with_role
from resnetbk_plugins.sequence_mixer.not_finite import mixed_causally
from resnetbk_plugins.sequence_mixer.short_convolution import ShortConvolution


class DecayingStates(nn.Module):
    """S_i = a_i S_{i-1} + s_i k_i v_i^T, y_i = q_i^T S_i per head, s_i = softplus(step(x_i)) and
    a_i = exp(-s_i rate); the output row is output(norm(y) * silu(gate)). H heads, K keys, V values.
    From the first row that is not finite on all are NaN; those before are untouched."""

    def __init__(
        self, width: int, heads: int, keys: int, chunk: int, convolution: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.keys, self.chunk = heads, keys, chunk
        self.convolution = ShortConvolution(width, convolution) if convolution else None
        self.query = nn.Linear(width, heads * keys, bias=False)
        self.key = nn.Linear(width, heads * keys, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, width, bias=False)
        self.step_size = nn.Linear(width, heads)
        # Mamba-2's initialisation: rates 1 to 16, step sizes spread over 0.001 to 0.1
        self.log_rate = with_role(nn.Parameter(torch.linspace(1, 16, heads).log()), "vector")
        # without a learned scale: the output projection has one for each feature
        self.norm = nn.RMSNorm(width // heads, elementwise_affine=False)
        self.output = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.query, self.key, self.value, self.gate):
            nn.init.normal_(layer.weight, std=width**-0.5)
        nn.init.zeros_(self.step_size.weight)
        start = torch.logspace(math.log10(0.001), math.log10(0.1), heads)
        with torch.no_grad():
            with_role(self.step_size.bias, "vector").copy_(start.expm1().log())  # so that `scratch` leaves it
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D). Padding comes last, so it is never seen."""
        batch, rows, _ = x.shape
        if batch == 0 or rows == 0:
            return x  # nothing to mix
        return mixed_causally(self._mixed, x)

    def _mixed(self, x: Tensor) -> Tensor:
        mixed = x if self.convolution is None else self.convolution(x)
        parts = self._parts(mixed)
        with torch.autocast(x.device.type, enabled=False):
            y = self._chunks(*parts)
        return self._features(x, y)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, M, D) -> q, k (B, H, M, K), v (B, H, M, V) and log a (B, H, M), all at least float32."""
        dtype = torch.promote_types(x.dtype, torch.float32)

        def heads(y: Tensor) -> Tensor:
            return y.view(*y.shape[:-1], self.heads, y.shape[-1] // self.heads).transpose(1, 2).to(dtype)

        # contiguous, since compiled code takes softplus' gradient to be laid out as its input, and it is not
        size = F.softplus(self.step_size(x).to(dtype).transpose(1, 2).contiguous())
        q = heads(self.query(x)) * self.keys**-0.5
        k = heads(self.key(x)) * size[..., None]
        return q, k, heads(self.value(x)), -size * self.log_rate.to(dtype).exp()[:, None]

    def _chunks(self, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor) -> Tensor:
        """(B, H, M, V): each chunk reads the state before it and its own rows."""
        rows, size = q.shape[2], min(self.chunk, q.shape[2])
        more = -rows % size

        def cut(y: Tensor) -> Tensor:
            return F.pad(y, (0, 0, 0, more)).view(*y.shape[:2], -1, size, y.shape[-1])

        q, k, v = cut(q), cut(k), cut(v)
        total = F.pad(log_decay, (0, more)).unflatten(2, (-1, size)).cumsum(-1)  # (B, H, chunks, size)
        causal = torch.ones(size, size, dtype=torch.bool, device=q.device).tril()
        decay = (total[..., :, None] - total[..., None, :]).masked_fill(~causal, -math.inf).exp()
        within = (q @ k.mT * decay) @ v
        to_end = (total[..., -1:] - total).exp()
        added = (k * to_end[..., None]).mT @ v  # (B, H, chunks, K, V)
        chunk_decay = total[..., -1].exp()[..., None, None]
        state, before = torch.zeros_like(added[:, :, 0]), []
        for chunk in range(added.shape[2]):
            before.append(state)
            state = chunk_decay[:, :, chunk] * state + added[:, :, chunk]
        across = (q * total.exp()[..., None]) @ torch.stack(before, 2)
        y: Tensor = within + across
        return y.flatten(2, 3)[:, :, :rows]

    def _features(self, x: Tensor, y: Tensor) -> Tensor:
        gate = F.silu(self.gate(x))
        y = self.norm(y).transpose(1, 2).flatten(2).to(gate.dtype)
        row: Tensor = self.dropout(self.output(y * gate))
        return row

    def initial_state(self, batch: int) -> State:
        """`matrix` (B, H, K, V) zeros, and the convolution's previous rows."""
        weight = self.value.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        shape = (batch, self.heads, self.keys, weight.shape[0] // self.heads)
        state = {"matrix": torch.zeros(shape, dtype=dtype, device=weight.device)}
        if self.convolution is not None:
            state["rows"] = self.convolution.before(batch)
        return state

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) -> (B, D)."""
        after: State = {}
        mixed = x
        if self.convolution is not None:
            mixed, after["rows"] = self.convolution.step(x, state["rows"])
        q, k, v, log_decay = self._parts(mixed[:, None])
        with torch.autocast(x.device.type, enabled=False):
            after["matrix"] = log_decay.exp()[..., None] * state["matrix"] + k.mT @ v
            y = q @ after["matrix"]
        return self._features(x[:, None], y)[:, 0], after
