"""The working object of `every-k`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resnetbk.kinds import Batch, BatchLoss, Weight
from resnetbk_plugins.gradient_strategy.backprop_module import BackpropGradients


class EveryKGradients(BackpropGradients):
    """Which weights take part is a function of the step alone."""

    def __init__(
        self, weights: Sequence[Weight], slow: Sequence[Weight], every: int, accumulate: int
    ) -> None:
        super().__init__(weights, accumulate)
        self.slow = tuple(weight.parameter for weight in slow)
        self.every = every

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], BatchLoss]) -> BatchLoss:
        """As `backprop`; the gradients of slow parameters are None unless `every` divides the step."""
        if step % self.every == 0:
            return super().gradients(step, batch, objective)
        for parameter in self.slow:
            parameter.requires_grad_(False)
        try:
            return super().gradients(step, batch, objective)
        finally:
            for parameter in self.slow:
                parameter.requires_grad_(True)
