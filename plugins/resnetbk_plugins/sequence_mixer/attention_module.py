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
    """softmax(q k^T / sqrt(d)) v over the rows so far, or the last `window` of them, d = width / heads.

    `rope_base` None leaves queries and keys unrotated. Padding comes last, so the causal mask hides it.
    From the first row that is not finite on all are NaN; those before are untouched.
    H heads of queries, K of keys and values.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        *,
        window: int | None,
        qk_norm: bool,
        rope_base: float | None,
        packed: bool,
        bias: bool,
        convolution: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, width // heads
        self.window = window
        self.rope_base = rope_base
        self.packed = packed
        self.convolution = ShortConvolution(width, convolution) if convolution else None
        # Three weights, so that Muon orthogonalises each alone; rows are multiplied by all three at once.
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, kv_heads * self.size, bias=bias)
        self.value = nn.Linear(width, kv_heads * self.size, bias=bias)
        self.query_scale = nn.Parameter(torch.ones(self.size)) if qk_norm else None
        self.key_scale = nn.Parameter(torch.ones(self.size)) if qk_norm else None
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
        return mixed_causally(partial(self._mixed, position=position), x)

    def _mixed(self, x: Tensor, position: Tensor) -> Tensor:
        x = self._convolved(x)
        if self.packed:
            position = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        return self._among_all(*self._projected(x, position))

    def _convolved(self, x: Tensor) -> Tensor:
        return x if self.convolution is None else self.convolution(x)

    def _among_all(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, M, H, d), and (B, M, K, d) twice -> (B, M, D): rows that attend to all up to themselves."""
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        mixed = self._attend(q, self._shared(k), self._shared(v))
        row: Tensor = self.dropout(self.output(mixed.transpose(1, 2).flatten(2)))
        return row

    def _projected(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., D) at (...) -> q (..., H, d), k and v (..., K, d), the first two normed and rotated."""
        parts = (self.query, self.key, self.value)
        bias = None if self.query.bias is None else torch.cat([part.bias for part in parts])
        rows = F.linear(x, torch.cat([part.weight for part in parts]), bias).unflatten(-1, (-1, self.size))
        qk, v = rows.split((self.heads + self.kv_heads, self.kv_heads), dim=-2)
        scales = None
        if self.query_scale is not None and self.key_scale is not None:
            scales = torch.cat(
                (self.query_scale.expand(self.heads, -1), self.key_scale.expand(self.kv_heads, -1))
            )
        q, k = self._placed(qk, scales, position).split((self.heads, self.kv_heads), dim=-2)
        return q, k, v

    def _placed(self, heads: Tensor, scale: Tensor | None, position: Tensor) -> Tensor:
        """(..., H, d) at (...): heads of queries or keys, normed and rotated, in fp32 or better within."""
        wide = heads.to(torch.promote_types(heads.dtype, torch.float32))
        if scale is not None:
            wide = F.rms_norm(wide, (self.size,)) * scale
        if self.rope_base is not None:
            wide = _rotated(wide, position, self.rope_base)
        return wide.to(heads.dtype)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, H, M, d), three times -> (B, H, M, d)."""
        attend = partial(F.scaled_dot_product_attention, dropout_p=self.dropout.p if self.training else 0.0)
        rows, window = q.shape[2], self.window
        if window is None or rows <= window:
            return attend(q, k, v, is_causal=True)
        # Blocks of `window` rows, which see themselves and the block before; the first sees itself alone.
        first = attend(q[:, :, :window], k[:, :, :window], v[:, :, :window], is_causal=True)
        q, k, v = (F.pad(t, (0, 0, 0, -rows % window)).unflatten(2, (-1, window)) for t in (q, k, v))
        pairs = (torch.cat((t[:, :, :-1], t[:, :, 1:]), dim=3) for t in (k, v))
        batch = q.shape[0]
        q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (q[:, :, 1:], *pairs))  # blocks in the batch
        row, seen = torch.arange(window, device=q.device)[:, None], torch.arange(2 * window, device=q.device)
        others = attend(q, k, v, attn_mask=(seen > row) & (seen <= row + window))
        others = others.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)
        return torch.cat((first, others), dim=2)[:, :, :rows]

    def _shared(self, t: Tensor) -> Tensor:
        """(B, K, M, d) -> (B, H, M, d): each head of keys or values for its group of queries."""
        groups = self.heads // self.kv_heads
        return t if groups == 1 else t.repeat_interleave(groups, dim=1)

    def initial_state(self, batch: int) -> State:
        """An empty cache: `key` and `value` (B, T, K d) with T = 0, or T = window, which then stays; `length`
        (B,) the rows so far, and the convolution's previous rows."""
        weight = self.key.weight
        empty = weight.new_zeros(batch, self.window or 0, weight.shape[0])
        used = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        state = {"key": empty, "value": empty.clone(), "length": used}
        if self.convolution is not None:
            state["rows"] = self.convolution.before(batch)
        return state

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) at (B,) -> (B, D). Caches may differ in length: T is that of the longest. With a window, the
        oldest row makes room for the new one."""
        after: State = {}
        if self.convolution is not None:
            x, after["rows"] = self.convolution.step(x, state["rows"])
        used = state["length"]
        q, k, v = self._projected(x, used if self.packed else position)
        grow, place = 0, used
        if self.window is not None:
            place = used % self.window
        elif len(used):
            grow = max(0, int(used.max()) + 1 - state["key"].shape[1])
        key = _write(state["key"], grow, place, k.flatten(1))
        value = _write(state["value"], grow, place, v.flatten(1))
        seen = torch.arange(key.shape[1], device=x.device) <= used[:, None]  # (B, T)
        keys, values = (
            self._shared(t.to(q.dtype).unflatten(-1, (self.kv_heads, -1)).transpose(1, 2))
            for t in (key, value)
        )
        mixed = F.scaled_dot_product_attention(q[:, :, None], keys, values, attn_mask=seen[:, None, None])
        row: Tensor = self.output(mixed.flatten(1))
        return row, {**after, "key": key, "value": value, "length": used + 1}


def _rotated(rows: Tensor, position: Tensor, base: float) -> Tensor:
    """(..., H, d) at (...): each head's dimensions i and i + d/2 turn by position * base^(-2i/d)."""
    half = rows.shape[-1] // 2
    rate = base ** (-torch.arange(half, dtype=rows.dtype, device=rows.device) / half)
    angle = (position[..., None].to(rows.dtype) * rate)[..., None, :]  # the same angles for all heads
    cos, sin = angle.cos(), angle.sin()
    low, high = rows.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, low * sin + high * cos), dim=-1)


def _write(cache: Tensor, grow: int, place: Tensor, row: Tensor) -> Tensor:
    """A copy of `cache` (B, T, D), `grow` rows longer, with `row` (B, D) at index `place` (B,)."""
    rows = torch.arange(len(place), device=place.device)
    return F.pad(cache, (0, 0, 0, grow)).index_put((rows, place), row.to(cache.dtype))
