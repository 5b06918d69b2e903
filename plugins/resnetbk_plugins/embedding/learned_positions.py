"""Token embeddings plus a learned embedding of each absolute position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, lt

if TYPE_CHECKING:
    from resnetbk.kinds import Embedding
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class LearnedPositions:
    """A table of tokens plus a table of positions, which has no row past `length`.

    length   number of positions: the longest sequence, in tokens
    std      both tables are drawn from N(0, std^2)
    dropout  share of the sum that is set to zero in training
    """

    length: int = attrs.field(default=1024, validator=ge(1))
    std: float = attrs.field(default=1.0, validator=gt(0.0))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def check(self, spec: Spec) -> None:
        if spec.data.window > self.length:
            raise ValueError(
                f"length = {self.length} is less than data.window = {spec.data.window}; raise it to that"
            )

    def build(self, *, vocabulary: int, width: int) -> Embedding:
        from resnetbk_plugins.embedding.learned_positions_module import PositionEmbedding

        return PositionEmbedding(vocabulary, width, self.length, self.std, self.dropout)
