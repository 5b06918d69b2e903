"""The working object of `selective`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from resnetbk.kinds import Batch, BatchLoss, Weight
from resnetbk_plugins.gradient_strategy.backprop_module import BackpropGradients
from resnetbk_plugins.gradient_strategy.pieces import looked_at


class SelectiveGradients(BackpropGradients):
    """Back-propagation through a part of each batch, chosen anew at every step."""

    def __init__(self, weights: Sequence[Weight], keep: float, accumulate: int) -> None:
        super().__init__(weights, accumulate)
        self.keep = keep

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], BatchLoss]) -> BatchLoss:
        """The objective of all B windows, as the first look saw it; the gradient of those kept, in order."""
        size = len(batch.inputs)
        kept = math.ceil(self.keep * size)
        if kept == size:
            return super().gradients(step, batch, objective)
        seen = self.pieces.run(batch.inputs.device, size, lambda pieces: looked_at(batch, objective, pieces))
        # stable, so that of equal losses the first windows are kept on every device
        order = seen.window_losses.argsort(descending=True, stable=True)
        chosen = order[:kept].sort().values
        super().gradients(step, Batch(batch.inputs[chosen], batch.targets[chosen]), objective)
        return seen
