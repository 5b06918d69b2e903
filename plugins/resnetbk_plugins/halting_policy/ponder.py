"""Halting policy `ponder`: PonderNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import and_, ge, gt, le, lt

from resnetbk.kinds import Stack

if TYPE_CHECKING:
    from resnetbk.kinds import HaltingPolicy


@attrs.frozen(kw_only=True)
class Ponder:
    """After each layer a unit gives each row the probability to halt there if it has not before. Training
    runs all layers and minimises the cross-entropy expected over where rows halt; later a row halts where it
    more likely than not would have. Banino, Balaguer & Blundell 2021, arXiv:2107.05407.

    prior   each layer's probability to halt, in the geometric distribution, cut off at the depth, that the
            learned one is held to: 0.2 means 2.2 of 4 layers on average
    weight  of the Kullback-Leibler divergence from it in the loss (beta of the paper)
    halt    the probability to have halted by now at which a row does
    leave   share of the rows that in training leave for good where they would later, so that mixers learn to
            do without them; the other rows alone are held to the prior
    bias    of the units at the start, before their sigmoid
    """

    prior: float = attrs.field(default=0.2, validator=and_(gt(0.0), lt(1.0)))
    weight: float = attrs.field(default=0.01, validator=ge(0.0))
    halt: float = attrs.field(default=0.5, validator=and_(gt(0.0), le(1.0)))
    leave: float = attrs.field(default=0.5, validator=and_(ge(0.0), lt(1.0)))
    bias: float = attrs.field(default=-1.0)

    def build(self, *, width: int, stacks: Sequence[Stack]) -> HaltingPolicy:
        from resnetbk_plugins.halting_policy.ponder_module import PonderHalting

        return PonderHalting(width, stacks, self.prior, self.weight, self.halt, self.leave, self.bias)
