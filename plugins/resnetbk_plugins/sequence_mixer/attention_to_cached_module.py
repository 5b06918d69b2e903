"""The torch module of `attention-to-cached`."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from resnetbk.kinds import Rows
from resnetbk.model.rows import real_rows
from resnetbk_plugins.sequence_mixer.attention_to_all_module import CausalAttentionToAll, places
from resnetbk_plugins.sequence_mixer.not_finite import mixed_causally


class CausalAttentionToCached(CausalAttentionToAll):
    """`kept` holds keys and values, (B, N + 1, K, d), and for which rows, (B, N + 1) bool; the last is where
    padding goes."""

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        length: Tensor | None,
        context: Rows | None = None,
        kept: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """(B, M, D) at (B, M) -> (B, M, D): what these rows of `context`, (B, N, D), attend to: all up to
        themselves that were ever computed, by the keys and values of the last time."""
        if context is None or kept is None:
            return super().forward(x, position, length)
        rows = context.x.shape[1]
        row = places(position, context)
        if length is not None:
            row = row.masked_fill(~real_rows(length, x.shape[1]), rows)
        mixed = partial(self._mixed_cached, row=row, position=position, kept=kept)
        return mixed_causally(mixed, context.x, row.clamp(max=rows - 1))

    def _mixed_cached(self, x: Tensor, row: Tensor, position: Tensor, kept: dict[str, Tensor]) -> Tensor:
        if self.convolution is not None:
            x = self.convolution(x)
        batch, rows, width = x.shape
        chosen = x.gather(1, row.clamp(max=rows - 1)[..., None].expand(-1, -1, width))
        q, k, v = self._projected(chosen, position)
        place = torch.arange(batch, device=x.device)[:, None], row
        for name, new in {"key": k, "value": v, "known": torch.ones_like(row, dtype=torch.bool)}.items():
            before = kept[name] if name in kept else new.new_zeros(batch, rows + 1, *new.shape[2:])
            kept[name] = before.index_put(place, new)
        key, value, known = (kept[name][:, :rows] for name in ("key", "value", "known"))
        seen = (torch.arange(rows, device=x.device) <= row[..., None]) & known[:, None]
        return self._attended(q, key, value, seen, row)
