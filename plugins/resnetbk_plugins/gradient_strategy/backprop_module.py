"""The working object of `backprop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resnetbk.kinds import Batch, BatchLoss, Weight
from resnetbk_plugins.gradient_strategy.pieces import Pieces, differentiated


class BackpropGradients:
    """Keeps nothing from step to step but the number of pieces that fit in memory."""

    def __init__(self, weights: Sequence[Weight], accumulate: int) -> None:
        self.parameters = tuple(weight.parameter for weight in weights)
        self.pieces = Pieces(accumulate)

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], BatchLoss]) -> BatchLoss:
        """See `differentiated`."""
        return self.pieces.run(
            batch.inputs.device,
            len(batch.inputs),
            lambda pieces: differentiated(self.parameters, batch, objective, pieces),
        )

    def state(self) -> dict[str, Any]:
        return {"pieces": self.pieces.count}

    def restore(self, state: dict[str, Any]) -> None:
        """A state without pieces leaves them as the spec says."""
        self.pieces.count = state.get("pieces", self.pieces.count)
