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
    """Where all rows are computed it is `attention`; where some are, the trunk calls `attend`."""

    def attend(self, position: Tensor, context: Rows) -> Tensor:
        """What the rows of `context`, (B, N, D), that are at `position`, (B, M), attend to: all rows up to
        themselves -> (B, M, D). Positions that pad the end of a sequence may be any."""
        known = context.position
        if context.length is not None:
            real = real_rows(context.length, known.shape[1])
            known = known.masked_fill(~real, torch.iinfo(known.dtype).max)  # so that they rise
        row = torch.searchsorted(known.contiguous(), position.contiguous()).clamp(max=known.shape[1] - 1)
        mixed = partial(self._mixed_among, row=row, position=position, known=context.position)
        return mixed_causally(mixed, context.x, row)

    def _mixed_among(self, x: Tensor, row: Tensor, position: Tensor, known: Tensor) -> Tensor:
        if self.convolution is not None:
            x = self.convolution(x)
        chosen = x.gather(1, row[..., None].expand(-1, -1, x.shape[2]))
        q, k, v = (
            rows.unflatten(-1, (-1, self.size)) for rows in (self.query(chosen), self.key(x), self.value(x))
        )
        q, k = self._placed(q, self.query_scale, position), self._placed(k, self.key_scale, known)
        q, k, v = q.transpose(1, 2), self._shared(k.transpose(1, 2)), self._shared(v.transpose(1, 2))
        seen = torch.arange(x.shape[1], device=x.device)
        mask = seen <= row[..., None]
        if self.window is not None:
            mask &= seen > row[..., None] - self.window
        dropout = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None], dropout_p=dropout)
        out: Tensor = self.dropout(self.output(mixed.transpose(1, 2).flatten(2)))
        return out
