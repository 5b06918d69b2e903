"""The working object of `backprop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resnetbk.kinds import Batch, BatchLoss, Weight
from resnetbk_plugins.gradient_strategy.micro_batches import MicroBatches, differentiated


class BackpropGradients:
    """Its only state is the number of micro-batches that fit in memory."""

    def __init__(self, weights: Sequence[Weight], accumulate: int) -> None:
        self.parameters = tuple(weight.parameter for weight in weights)
        sharded = any(hasattr(parameter, "full_tensor") for parameter in self.parameters)
        self.micro_batches = MicroBatches(accumulate, sharded)

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], BatchLoss]) -> BatchLoss:
        """See `differentiated`."""
        return self.micro_batches.run(
            batch.inputs.device,
            len(batch.inputs),
            lambda count: differentiated(self.parameters, batch, objective, count),
        )

    def state(self) -> dict[str, Any]:
        return {"pieces": self.micro_batches.count}

    def restore(self, state: dict[str, Any]) -> None:
        """A state without `pieces`, the number of micro-batches, leaves it as the spec says."""
        self.micro_batches.count = state.get("pieces", self.micro_batches.count)
