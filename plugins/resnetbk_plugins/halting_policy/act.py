"""Halting policy `act`: adaptive computation time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import and_, ge, gt, le, lt

from resnetbk.kinds import Stack

if TYPE_CHECKING:
    from resnetbk.kinds import HaltingPolicy


@attrs.frozen(kw_only=True)
class ACT:
    """After each layer a unit gives each row a halting probability. A row halts when their sum reaches
    `threshold`; its output is the mean of its states weighted by these probabilities, the last layer's weight
    being the remainder. Graves 2016, arXiv:1603.08983; over layers: Dehghani et al. 2018, arXiv:1807.03819.

    Rows halt in training as in inference, and later layers are not computed for them.

    threshold  1 - epsilon of the paper
    ponder     weight in the loss of the mean ponder cost N + R, layers run plus remainder (tau of the paper)
    start      share of the training before which ponder costs nothing, so that depth is learned before it is
               saved: as long as deep layers do not help yet, a row halts for good after the first
    bias       initial bias of the units, before the sigmoid: below zero, so that at first all layers run
    """

    threshold: float = attrs.field(default=0.99, validator=and_(gt(0.0), le(1.0)))
    ponder: float = attrs.field(default=0.01, validator=ge(0.0))
    start: float = attrs.field(default=0.0, validator=and_(ge(0.0), lt(1.0)))
    bias: float = attrs.field(default=-3.0)

    def build(self, *, width: int, stacks: Sequence[Stack]) -> HaltingPolicy:
        from resnetbk_plugins.halting_policy.act_module import ACTHalting

        return ACTHalting(width, stacks, self.threshold, self.ponder, self.start, self.bias)
