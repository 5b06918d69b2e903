"""Gradient strategy `cached`: the gradient of a similar recent batch in place of a fresh one."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import and_, ge, le

from resnetbk.kinds import GradientStrategy, Weight

_SHARE = and_(ge(0.0), le(1.0))
_COSINE = and_(ge(-1.0), le(1.0))


@attrs.frozen(kw_only=True)
class Cached:
    """Reuse of gradients: a batch similar to a recent batch is given that batch's gradient.

    Batches are compared by their bigrams: a histogram over 4096 hashed buckets, minus the mean over all
    batches so far, so that what all text has in common does not make batches similar. The similarity is the
    cosine between two such histograms. It needs no forward pass and does not change with the weights. Windows
    of one shuffled corpus are hardly ever similar by it (about 0), so a `similarity` of 0.9 reuses little
    unless windows recur. At -1 any recent gradient is reused.

    A hit still runs the forward pass, without a graph and metered, so the losses that are reported and given
    to a data selector are the batch's own; what is saved is the backward pass, about 2/3 of the step.

    On a sample of the hits, evenly spaced and starting with the first, the fresh gradient is computed too,
    and used; its cosine with the cached gradient enters a running mean (of all, then of about the last ten).
    If this falls below `cosine` after three samples, reuse ends for the rest of the run; the log says so.

    Memory: at most as many whole gradients as steps in `age`. Gradients are stored before clipping.

    similarity  least cosine between two batches for a hit
    age         steps for which a gradient may be reused
    count       how often a gradient may be reused
    sample      share of the hits that are measured; with 0 reuse never ends by itself
    cosine      mean cosine between cached and fresh gradients below which reuse ends
    accumulate  micro-batches, as in `backprop`
    """

    similarity: float = attrs.field(default=0.9, validator=_COSINE)
    age: int = attrs.field(default=4, validator=ge(1))
    count: int = attrs.field(default=2, validator=ge(1))
    sample: float = attrs.field(default=0.1, validator=_SHARE)
    cosine: float = attrs.field(default=0.5, validator=_COSINE)
    accumulate: int = attrs.field(default=1, validator=ge(1))

    def build(self, *, weights: Sequence[Weight]) -> GradientStrategy:
        from resnetbk_plugins.gradient_strategy.cached_module import CachedGradients

        return CachedGradients(
            weights, self.similarity, self.age, self.count, self.sample, self.cosine, self.accumulate
        )
