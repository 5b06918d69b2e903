"""Token embeddings plus what an n-gram model of the text read so far expects next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt

if TYPE_CHECKING:
    from resnetbk.kinds import Embedding


@attrs.frozen(kw_only=True)
class NgramCounts:
    """A table of tokens plus a linear map of the next token's log-probabilities in an n-gram model, modified
    Kneser-Ney (Chen & Goodman, 1999), of the windows that training has read before.

    A window is counted after the step that it is in, so what a row is told never includes its own
    continuation, as long as windows are new. From the second epoch on they are not, and the model learns to
    trust counts too much: made for runs of at most one epoch. Counting is a part of the steps.

    order     the longest n-gram counted; a row depends on the last order - 1 tokens
    capacity  how many tokens are remembered, with one for each window's end; later ones are not counted
    std       the token table is drawn from N(0, std^2)
    """

    order: int = attrs.field(default=7, validator=ge(2))
    capacity: int = attrs.field(default=2**21, validator=ge(1))
    std: float = attrs.field(default=1.0, validator=gt(0.0))

    def build(self, *, vocabulary: int, width: int) -> Embedding:
        from resnetbk_plugins.embedding.ngram_counts_module import NgramCountsEmbedding

        return NgramCountsEmbedding(vocabulary, width, self.order, self.capacity, self.std)
