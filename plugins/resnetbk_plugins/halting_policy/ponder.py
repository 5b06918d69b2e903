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
    """After each layer a unit gives each row the probability to halt there, given that it has not before.
    Training runs all layers and minimises the cross-entropy in expectation over the halting layer; in
    inference a row halts where it has more probably halted than not.
    Banino, Balaguer & Blundell 2021, arXiv:2107.05407.

    prior   parameter of the geometric distribution, truncated at the depth, that the halting distribution is
            regularised towards: 0.2 means 2.2 of 4 layers on average
    weight  of the Kullback-Leibler divergence from it in the loss (beta of the paper)
    warmup  share of the training over which the weight grows linearly from 0
    halt    cumulative halting probability at which a row halts
    leave   share of the rows that halt in training as in inference, so that mixers learn to work without
            them; only the other rows are regularised towards the prior
    bias    initial bias of the units, before the sigmoid: below zero, so that at first nearly all layers run
    """

    prior: float = attrs.field(default=0.2, validator=and_(gt(0.0), lt(1.0)))
    weight: float = attrs.field(default=0.01, validator=ge(0.0))
    warmup: float = attrs.field(default=0.2, validator=and_(ge(0.0), le(1.0)))
    halt: float = attrs.field(default=0.5, validator=and_(gt(0.0), le(1.0)))
    leave: float = attrs.field(default=0.5, validator=and_(ge(0.0), lt(1.0)))
    bias: float = attrs.field(default=-3.0)

    def build(self, *, width: int, stacks: Sequence[Stack]) -> HaltingPolicy:
        from resnetbk_plugins.halting_policy.ponder_module import PonderHalting

        return PonderHalting(
            width, stacks, self.prior, self.weight, self.warmup, self.halt, self.leave, self.bias
        )
