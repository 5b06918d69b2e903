"""Gradient strategy `every-k`: slow weights get a gradient, and an update, every k steps."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import ge, min_len

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import GradientStrategy, Weight
from resnetbk_plugins.weight_names import parts_of


@attrs.frozen(kw_only=True)
class EveryK:
    """Back-propagation in which the `slow` weights take part only in steps 0, k, 2k, ...

    In the other steps their gradients are not computed. If the slow weights are those at the input of the
    network (`["embedding", "trunk.layers.0"]`), the backward pass ends above them: with s of L layers slow
    that saves about s / L of it. Elsewhere only the weights' own products, half of a layer's backward pass,
    are saved.

    The gradient of a slow weight is that of its own step's batch, not a sum over the steps between, which
    would cost what is to be saved. Optimizers leave a weight without a gradient alone, with its moments,
    weight decay and step count, so it takes 1/k of the updates, at the same learning rate.

    every       k
    slow        names of parts of the model, such as "embedding" or "trunk.layers.0", or of single weights
    accumulate  micro-batches, as in `backprop`
    """

    every: int = attrs.field(default=4, validator=ge(1))
    slow: list[str] = attrs.field(factory=lambda: ["embedding"], validator=min_len(1))
    accumulate: int = attrs.field(default=1, validator=ge(1))

    def build(self, *, weights: Sequence[Weight]) -> GradientStrategy:
        """Raises UserError for a name that no trainable weight has, and when all weights would be slow."""
        from resnetbk_plugins.gradient_strategy.every_k_module import EveryKGradients

        slow = [weight for weight in weights if set(parts_of(weight.name)) & set(self.slow)]
        known = {name for weight in weights for name in parts_of(weight.name)}
        unknown = [part for part in self.slow if part not in known]
        if unknown:
            raise UserError(
                *(f"every-k: slow: nothing trainable is called {n!r}{nearest(n, known)}" for n in unknown)
            )
        if len(slow) == len(weights):
            raise UserError("every-k: slow names all weights: most steps would train nothing; leave some out")
        return EveryKGradients(weights, slow, self.every, self.accumulate)
