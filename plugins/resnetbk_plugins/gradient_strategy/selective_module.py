"""The working object of `selective`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from resnetbk.kinds import Batch, BatchLoss, Weight
from resnetbk_plugins.gradient_strategy.backprop_module import BackpropGradients
from resnetbk_plugins.gradient_strategy.micro_batches import evaluated


class SelectiveGradients(BackpropGradients):
    """Back-propagation through a part of the batch, selected at every step."""

    def __init__(self, weights: Sequence[Weight], keep: float, accumulate: int) -> None:
        super().__init__(weights, accumulate)
        self.keep = keep

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], BatchLoss]) -> BatchLoss:
        """The objective of all B windows, from the first pass; the gradient of the selected windows."""
        size = len(batch.inputs)
        selected = math.ceil(self.keep * size)
        if selected == size:
            return super().gradients(step, batch, objective)
        whole = self.micro_batches.run(
            batch.inputs.device, size, lambda count: evaluated(batch, objective, count)
        )
        # stable, so that of equal losses the first windows are selected on every device
        order = whole.window_losses.argsort(descending=True, stable=True)
        index = order[:selected].sort().values
        super().gradients(step, Batch(batch.inputs[index], batch.targets[index]), objective)
        return whole
