"""Halting policy `act`: adaptive computation time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import and_, ge, gt, le

from resnetbk.kinds import Stack

if TYPE_CHECKING:
    from resnetbk.kinds import HaltingPolicy


@attrs.frozen(kw_only=True)
class ACT:
    """After each layer a unit gives each row a halting probability; a row halts when their sum reaches
    `threshold`, and leaves as the mean of its states weighted by them, the remainder going to the last layer
    that it ran. Graves 2016, arXiv:1603.08983; for layers: Dehghani et al. 2018, arXiv:1807.03819.

    Rows halt in training as they do later, and layers after that are not computed for them.

    threshold  1 - epsilon of the paper
    ponder     weight of the mean of layers run plus remainder, N + R, in the loss (tau of the paper)
    bias       of the units at the start, before their sigmoid: below zero, so that at first all layers run
    """

    threshold: float = attrs.field(default=0.99, validator=and_(gt(0.0), le(1.0)))
    ponder: float = attrs.field(default=0.01, validator=ge(0.0))
    bias: float = attrs.field(default=-3.0)

    def build(self, *, width: int, stacks: Sequence[Stack]) -> HaltingPolicy:
        from resnetbk_plugins.halting_policy.act_module import ACTHalting

        return ACTHalting(width, stacks, self.threshold, self.ponder, self.bias)
