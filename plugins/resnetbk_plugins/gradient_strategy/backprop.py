"""Gradient strategy `backprop`: fresh gradients at every step. The identity of its kind."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import ge

from resnetbk.kinds import GradientStrategy, Weight


@attrs.frozen(kw_only=True)
class Backprop:
    """Back-propagation through the batch, in `accumulate` micro-batches one after the other.

    Only the activations of one micro-batch are in memory at a time; the gradients add up to that of the
    batch, each weighted by its share of the windows. Exact for the cross-entropy and for every penalty that
    is a mean over windows; a penalty that is not linear in the batch (load balancing of experts) becomes
    the mean of its values on the micro-batches.

    If a batch does not fit in memory, the number of micro-batches is doubled, down to one window each, and
    stays so. An operating system that overcommits memory (Linux does, on the CPU) may kill the process
    instead of raising an error; there `accumulate` has to be chosen by hand.
    """

    accumulate: int = attrs.field(default=1, validator=ge(1))

    def build(self, *, weights: Sequence[Weight]) -> GradientStrategy:
        from resnetbk_plugins.gradient_strategy.backprop_module import BackpropGradients

        return BackpropGradients(weights, self.accumulate)
