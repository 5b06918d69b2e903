"""Gradient strategy `labelled`: back-propagation without the work that no label asks for."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import ge

from resnetbk.kinds import GradientStrategy, Weight


@attrs.frozen(kw_only=True)
class Labelled:
    """Back-propagation that leaves out rows without a label where nothing depends on them, in the forward
    pass as well as in the backward one. In a task that asks for few answers these are most rows.

    The head computes rows with labels alone. So does the channel mixer of the last layer; not in
    `wiring = "resnet-bk"`, where other rows depend on it, and not where a gate chooses rows. Gradients are
    those of `backprop`, up to rounding and to what rows that are left out do not take part in: the penalties
    of `moe` and of the halting policy `confidence`, and the random numbers of dropout. What is evaluated is
    computed whole. In a text that is no task all rows are computed. `compile` compiles layers one by one.

    accumulate  micro-batches, as in `backprop`
    """

    accumulate: int = attrs.field(default=1, validator=ge(1))

    def build(self, *, weights: Sequence[Weight]) -> GradientStrategy:
        from resnetbk_plugins.gradient_strategy.labelled_module import LabelledGradients

        return LabelledGradients(weights, self.accumulate)
