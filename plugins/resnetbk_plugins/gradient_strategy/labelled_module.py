"""The working object of `labelled`."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from resnetbk.kinds import Batch, BatchLoss
from resnetbk_plugins.gradient_strategy.backprop_module import BackpropGradients


class LabelledGradients(BackpropGradients):
    """`backprop` of the objective of rows with labels alone."""

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], BatchLoss]) -> BatchLoss:
        """See `differentiated`."""
        return super().gradients(step, batch, lambda part: objective(attrs.evolve(part, labelled=True)))
