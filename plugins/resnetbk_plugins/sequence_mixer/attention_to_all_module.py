"""The torch module of `attention-to-all`."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from resnetbk.kinds import Rows
from resnetbk.model.rows import real_rows
from resnetbk_plugins.sequence_mixer.attention_module import CausalAttention
from resnetbk_plugins.sequence_mixer.not_finite import mixed_causally


class CausalAttentionToAll(CausalAttention):
    """Where all rows are computed it is `attention`; where some are, they attend to all."""

    reads_all = True

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        length: Tensor | None,
        context: Rows | None = None,
        kept: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """(B, M, D) at (B, M) -> (B, M, D): what these rows of `context`, (B, N, D), attend to, which are all
        up to themselves. Positions that pad the end of a sequence may be any."""
        if context is None or context.x is x:
            return super().forward(x, position, length)
        row = places(position, context).clamp(max=context.x.shape[1] - 1)
        mixed = partial(self._mixed_among, row=row, position=position, known=context.position)
        return mixed_causally(mixed, context.x, row)

    def _mixed_among(self, x: Tensor, row: Tensor, position: Tensor, known: Tensor) -> Tensor:
        x = self._convolved(x)
        chosen = x.gather(1, row[..., None].expand(-1, -1, x.shape[2]))
        q, k, v = (
            rows.unflatten(-1, (-1, self.size)) for rows in (self.query(chosen), self.key(x), self.value(x))
        )
        q, k = self._placed(q, self.query_scale, position), self._placed(k, self.key_scale, known)
        seen = torch.arange(x.shape[1], device=x.device) <= row[..., None]
        out: Tensor = self.dropout(self.output(self._attended(q, k, v, seen, row)))
        return out

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor, row: Tensor) -> Tensor:
        """Queries (B, M, H, d) of rows (B, M), keys and values (B, N, K, d) that are `seen`, (B, M, N) ->
        (B, M, D)."""
        q, k, v = q.transpose(1, 2), self._shared(k.transpose(1, 2)), self._shared(v.transpose(1, 2))
        if self.window is not None:
            seen = seen & (torch.arange(k.shape[2], device=k.device) > row[..., None] - self.window)
        dropout = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None], dropout_p=dropout)
        return mixed.transpose(1, 2).flatten(2)


def places(position: Tensor, context: Rows) -> Tensor:
    """(B, M): which of the rows of `context`, (B, N), are at `position`, (B, M)."""
    known = context.position
    if context.length is not None:
        real = real_rows(context.length, known.shape[1])
        known = known.masked_fill(~real, torch.iinfo(known.dtype).max)  # so that they rise
    return torch.searchsorted(known.contiguous(), position.contiguous())
