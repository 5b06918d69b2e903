"""Gradient strategy `selective`: only the windows with the largest losses are differentiated."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import and_, ge, gt, le

from resnetbk.kinds import GradientStrategy, Weight

_SHARE = and_(gt(0.0), le(1.0))


@attrs.frozen(kw_only=True)
class Selective:
    """Selective back-propagation (Jiang et al., 2019, arXiv:1910.00762), in the ordered form of Kawaguchi &
    Lu (2019, arXiv:1907.04371): of the B windows of a batch the ceil(keep B) with the largest losses.

    All windows go through a forward pass without a graph, which gives their losses; the selected windows go
    through a second forward pass and the backward pass. As a backward pass costs two forward passes, this
    costs (1 + 3 keep) / 3 of a plain step: 5/6 at keep = 1/2, no saving above keep = 2/3. All of it is
    metered.

    The gradient is the mean over the selected windows, so it is biased: it descends the mean of the largest
    losses, an upper bound of the mean loss, and trains most on text that cannot be predicted (noise, rare
    names). At keep = 1 it is `backprop`, without the first forward pass.

    keep        the share of windows that is differentiated
    accumulate  micro-batches, as in `backprop`
    """

    keep: float = attrs.field(default=0.5, validator=_SHARE)
    accumulate: int = attrs.field(default=1, validator=ge(1))

    def build(self, *, weights: Sequence[Weight]) -> GradientStrategy:
        from resnetbk_plugins.gradient_strategy.selective_module import SelectiveGradients

        return SelectiveGradients(weights, self.keep, self.accumulate)
