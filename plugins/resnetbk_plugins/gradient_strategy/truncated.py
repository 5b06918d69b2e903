"""Gradient strategy `truncated`: back-propagation through the last loops of shared layers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk.kinds import GradientStrategy, Weight

if TYPE_CHECKING:
    from resnetbk.spec.spec import Spec


@attrs.frozen(kw_only=True)
class Truncated:
    """Back-propagation that ends `loops` loops before the end of a trunk with `model.share = "layers"`, as
    truncated back-propagation through time does in a recurrence (Williams & Peng 1990,
    doi:10.1162/neco.1990.2.4.490). The loops before are run without a graph: their backward pass, two thirds
    of their work, and their activations are saved.

    The gradient of a shared weight is then that of its last uses. Through the loops before, gradients pass as
    if these were the identity, as in a residual stream they nearly are, so that embedding and policies still
    learn. Penalties of channel mixers in these loops teach nothing. With all loops it is `backprop`, to the
    bit.

    loops       the last loops, those that are differentiated
    accumulate  micro-batches, as in `backprop`
    """

    loops: int = attrs.field(default=1, validator=ge(1))
    accumulate: int = attrs.field(default=1, validator=ge(1))

    def check(self, spec: Spec) -> None:
        """Raises ValueError where layers do not loop, or not so often."""
        if spec.model.share != "layers":
            raise ValueError('truncated ends between loops of shared layers: give model.share = "layers"')
        if self.loops > (most := spec.model.depth // spec.model.distinct):
            raise ValueError(
                f"loops must be at most {most}, as often as the layers are run, not {self.loops}"
            )

    def build(self, *, weights: Sequence[Weight]) -> GradientStrategy:
        from resnetbk_plugins.gradient_strategy.truncated_module import TruncatedGradients

        return TruncatedGradients(weights, self.loops, self.accumulate)
