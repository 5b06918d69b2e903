"""The torch module of `attention-to-all`."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from resnetbk.kinds import Rows
from resnetbk.model.rows import real_rows
from resnetbk_plugins.sequence_mixer.attention_module import CausalAttention, _rotated
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
        q = self._heads(self.query(chosen), self.query_scale, position)
        k = self._shared(self._heads(self.key(x), self.key_scale, known))
        v = self._shared(self.value(x).unflatten(-1, (-1, self.size)).transpose(1, 2))
        seen = torch.arange(x.shape[1], device=x.device)
        mask = seen <= row[..., None]
        if self.window is not None:
            mask &= seen > row[..., None] - self.window
        dropout = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None], dropout_p=dropout)
        out: Tensor = self.dropout(self.output(mixed.transpose(1, 2).flatten(2)))
        return out

    def _heads(self, rows: Tensor, scale: Tensor | None, position: Tensor) -> Tensor:
        """(B, M, H d) at (B, M) -> (B, H, M, d), normed and rotated."""
        heads: Tensor = rows.unflatten(-1, (-1, self.size))
        wide = heads.to(torch.promote_types(heads.dtype, torch.float32))
        if scale is not None:
            wide = F.rms_norm(wide, (self.size,)) * scale
        if self.rope_base is not None:
            wide = _rotated(wide, position, self.rope_base)
        return wide.to(heads.dtype).transpose(1, 2)
