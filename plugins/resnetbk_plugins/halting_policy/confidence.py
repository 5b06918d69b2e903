"""Halting policy `confidence`: early exit where the last layer is expected to predict the same token."""

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
    """Training runs all layers and learns to predict the next token after each; a unit at each layer learns
    the probability that its most probable token is that of the last layer. In inference a row halts where
    this probability reaches `agree`.
    Schuster et al. 2022, arXiv:2207.07061; Elhoushi et al. 2024, arXiv:2404.16710.

    agree   probability of agreement with the last layer at which a row halts
    weight  of the cross-entropy after each layer but the last, relative to that after the last; the weights
            are scaled to a sum of 1
    drop    share of the rows that exit early in training, after a layer drawn uniformly from all but the
            last, so that mixers learn to work without rows that have halted
    """

    agree: float = attrs.field(default=0.9, validator=and_(gt(0.0), le(1.0)))
    weight: float = attrs.field(default=0.3, validator=ge(0.0))
    drop: float = attrs.field(default=0.1, validator=and_(ge(0.0), lt(1.0)))

    def build(self, *, width: int, stacks: Sequence[Stack]) -> HaltingPolicy:
        from resnetbk_plugins.halting_policy.confidence_module import ConfidenceHalting

        return ConfidenceHalting(width, stacks, self.agree, self.weight, self.drop)
