"""Token embeddings plus hashed embeddings of the last few tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, le, lt

if TYPE_CHECKING:
    from resnetbk.kinds import Embedding


@attrs.frozen(kw_only=True)
class NgramHash:
    """A table of tokens plus, for each n from 2 to `order`, a table of hashed n-grams ending at the token.

    A token reads order - 1 hashed rows, and their gradient is a sparse tensor, so the cost does not grow with
    `rows`. N-grams that hash to the same row share its embedding.

    order    the longest n-gram
    rows     of each hashed table; they start at zero, so that this starts as a plain table
    std      the token table is drawn from N(0, std^2)
    dropout  share of the sum that is set to zero in training
    """

    order: int = attrs.field(default=4, validator=ge(2))
    rows: int = attrs.field(default=8192, validator=[ge(1), le(2**31)])
    std: float = attrs.field(default=1.0, validator=gt(0.0))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def build(self, *, vocabulary: int, width: int) -> Embedding:
        from resnetbk_plugins.embedding.ngram_hash_module import NgramHashEmbedding

        return NgramHashEmbedding(vocabulary, width, self.order, self.rows, self.std, self.dropout)
