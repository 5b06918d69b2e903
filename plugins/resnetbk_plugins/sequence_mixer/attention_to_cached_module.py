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
    """`kept` holds keys and values, (B, N, K, d), and for which rows there are some, (B, N) bool."""

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
        if context.x is x and length is None:
            return mixed_causally(partial(self._mixed_whole, position=position, kept=kept), x)
        row = places(position, context).clamp(max=context.x.shape[1] - 1)
        real = torch.ones_like(row, dtype=torch.bool) if length is None else real_rows(length, x.shape[1])
        mixed = partial(self._mixed_cached, row=row, real=real, position=position, kept=kept)
        return mixed_causally(mixed, context.x, row)

    def _mixed_whole(self, x: Tensor, position: Tensor, kept: dict[str, Tensor]) -> Tensor:
        q, k, v = self._projected(self._convolved(x), position)
        kept.update(key=k, value=v, known=torch.ones_like(position, dtype=torch.bool))
        return self._among_all(q, k, v)

    def _mixed_cached(
        self, x: Tensor, row: Tensor, real: Tensor, position: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        x = self._convolved(x)
        sequence, slot = real.nonzero().unbind(1)  # padding costs nothing: few sequences run as many rows
        place = sequence, row[sequence, slot]
        q, k, v = self._projected(x[place], position[sequence, slot])
        for name, new in {"key": k, "value": v, "known": k.new_ones(len(k), dtype=torch.bool)}.items():
            before = kept[name] if name in kept else new.new_zeros(*x.shape[:2], *new.shape[1:])
            kept[name] = before.index_put(place, new)
        queries = q.new_zeros(*row.shape, *q.shape[1:]).index_put((sequence, slot), q)
        seen = (torch.arange(x.shape[1], device=x.device) <= row[..., None]) & kept["known"][:, None]
        # softmax over nothing would be NaN
        mixed = self._attended(queries, kept["key"], kept["value"], seen | ~real[..., None], row)
        out = self.dropout(self.output(mixed[sequence, slot]))
        padded: Tensor = out.new_zeros(*row.shape, out.shape[-1]).index_put((sequence, slot), out)
        return padded
