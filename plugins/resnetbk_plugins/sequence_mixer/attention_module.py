"""The torch module of `attention`."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import State
from resnetbk_plugins.sequence_mixer.not_finite import mixed_causally
from resnetbk_plugins.sequence_mixer.short_convolution import ShortConvolution


class CausalAttention(nn.Module):
    """softmax(q k^T / sqrt(d)) v over the rows so far, d = width / heads.

    `rope_base` None leaves queries and keys unrotated. Padding comes last, so the causal mask hides it.
    From the first row with a key or value that is not finite on all are NaN; those before are untouched.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        rope_base: float | None,
        bias: bool,
        convolution: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.rope_base = rope_base
        self.convolution = ShortConvolution(width, convolution) if convolution else None
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        self.dropout = nn.Dropout(dropout)
        for projection in (self.query, self.key, self.value):
            nn.init.normal_(projection.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)
        if bias:
            for projection in (self.query, self.key, self.value, self.output):
                nn.init.zeros_(projection.bias)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) at (B, M) -> (B, M, D)."""
        if self.convolution is not None:
            x = self.convolution(x)
        q, k = self._rotated(self.query(x), self.key(x), position)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, self.value(x)))
        dropout = self.dropout.p if self.training else 0.0
        attend = partial(F.scaled_dot_product_attention, q, is_causal=True, dropout_p=dropout)
        mixed = mixed_causally(attend, k, v)
        row: Tensor = self.dropout(self.output(mixed.transpose(1, 2).flatten(2)))
        return row

    def initial_state(self, batch: int) -> State:
        """An empty cache: `key` and `value` (B, T, D) with T = 0, `length` (B,) the rows in use, and the
        convolution's previous rows."""
        weight = self.key.weight
        empty = weight.new_zeros(batch, 0, weight.shape[0])
        used = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        state = {"key": empty, "value": empty.clone(), "length": used}
        if self.convolution is not None:
            state["rows"] = self.convolution.before(batch)
        return state

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) at (B,) -> (B, D). Caches may differ in length: T is that of the longest."""
        after: State = {}
        if self.convolution is not None:
            x, after["rows"] = self.convolution.step(x, state["rows"])
        q, k = self._rotated(self.query(x), self.key(x), position)
        used = state["length"]
        grow = max(0, int(used.max()) + 1 - state["key"].shape[1]) if len(used) else 0
        key = _write(state["key"], grow, used, k)
        value = _write(state["value"], grow, used, self.value(x))
        seen = torch.arange(key.shape[1], device=x.device) <= used[:, None]  # (B, T)
        q = q.unflatten(-1, (self.heads, 1, -1))  # (B, H, 1, d)
        keys, values = (t.to(q.dtype).unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (key, value))
        mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen[:, None, None])
        row: Tensor = self.output(mixed.flatten(1))
        return row, {**after, "key": key, "value": value, "length": used + 1}

    def _rotated(self, q: Tensor, k: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary positions: each head's dimensions i and i + d/2 turn by position * base^(-2i/d)."""
        if self.rope_base is None:
            return q, k
        half = q.shape[-1] // self.heads // 2
        dtype = torch.promote_types(q.dtype, torch.float32)
        rate = self.rope_base ** (-torch.arange(half, dtype=dtype, device=q.device) / half)
        angle = (position[..., None].to(dtype) * rate)[..., None, :]  # the same angles for all heads
        cos, sin = angle.cos(), angle.sin()

        def turn(rows: Tensor) -> Tensor:
            low, high = rows.unflatten(-1, (self.heads, -1)).chunk(2, dim=-1)
            turned = torch.cat((low * cos - high * sin, low * sin + high * cos), dim=-1)
            return turned.flatten(-2).to(rows.dtype)

        return turn(q), turn(k)


def _write(cache: Tensor, grow: int, used: Tensor, row: Tensor) -> Tensor:
    """A copy of `cache` (B, T, D), `grow` rows longer, with `row` (B, D) at index `used` (B,)."""
    rows = torch.arange(len(used), device=used.device)
    return F.pad(cache, (0, 0, 0, grow)).index_put((rows, used), row.to(cache.dtype))
