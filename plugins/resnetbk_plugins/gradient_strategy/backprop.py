"""Gradient strategy `backprop`: fresh gradients at every step. The identity of its kind."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import ge

from resnetbk.kinds import GradientStrategy, Weight


@attrs.frozen(kw_only=True)
class Backprop:
    """Back-propagation through the batch, in `accumulate` micro-batches one after the other.

    Micro-batches hold the activations of a part of the batch at a time and give the gradient of the
    whole: each is weighted by its share of the windows. Exact for the cross-entropy and for every
    penalty that is a mean over windows; one that is not linear in the batch (the load balance of
    experts) becomes the mean of its values on the micro-batches.

    A batch that does not fit in memory is worked on in twice as many micro-batches, and again, down to
    one window; what was found to fit is kept (see `Pieces`).
    """

    accumulate: int = attrs.field(default=1, validator=ge(1))

    def build(self, *, weights: Sequence[Weight]) -> GradientStrategy:
        from resnetbk_plugins.gradient_strategy.backprop_module import BackpropGradients

        return BackpropGradients(weights, self.accumulate)
