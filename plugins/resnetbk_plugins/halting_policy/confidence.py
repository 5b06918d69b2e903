"""Halting policy `confidence`: early exit where the last layer is expected to say the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import and_, ge, gt, le, lt

from resnetbk.kinds import Stack

if TYPE_CHECKING:
    from resnetbk.kinds import HaltingPolicy


@attrs.frozen(kw_only=True)
class Confidence:
    """Training runs all layers and learns to answer after each; a unit there learns to foretell whether the
    likeliest token will be that of the last layer. Later a row halts where that is probable enough.
    Schuster et al. 2022, arXiv:2207.07061; Elhoushi et al. 2024, arXiv:2404.16710.

    agree   probability of agreement with the last layer at which a row halts
    weight  of the cross-entropy after each inner layer, where that after the last one weighs 1; together they
            are scaled to 1
    drop    share of the rows that leave early in training, after a layer drawn evenly from the inner ones, so
            that mixers learn to do without rows that have halted
    """

    agree: float = attrs.field(default=0.9, validator=and_(gt(0.0), le(1.0)))
    weight: float = attrs.field(default=0.3, validator=ge(0.0))
    drop: float = attrs.field(default=0.1, validator=and_(ge(0.0), lt(1.0)))

    def build(self, *, width: int, stacks: Sequence[Stack]) -> HaltingPolicy:
        from resnetbk_plugins.halting_policy.confidence_module import ConfidenceHalting

        return ConfidenceHalting(width, stacks, self.agree, self.weight, self.drop)
