"""A plain table of token embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, lt

if TYPE_CHECKING:
    from resnetbk.kinds import Embedding


@attrs.frozen(kw_only=True)
class Table:
    """One learned row per token.

    std      the table is drawn from N(0, std^2)
    dropout  share of the rows' numbers that is set to zero in training
    """

    std: float = attrs.field(default=1.0, validator=gt(0.0))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def build(self, *, vocabulary: int, width: int) -> Embedding:
        from resnetbk_plugins.embedding.table_module import TableEmbedding

        return TableEmbedding(vocabulary, width, self.std, self.dropout)
