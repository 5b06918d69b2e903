"""The working object of `truncated`."""

from __future__ import annotations

from collections.abc import Sequence

from resnetbk.kinds import Weight
from resnetbk_plugins.gradient_strategy.backprop_module import BackpropGradients


class TruncatedGradients(BackpropGradients):
    """`backprop` of a trunk whose loops before the last `loops` are constants: the learner tells it so."""

    def __init__(self, weights: Sequence[Weight], loops: int, accumulate: int) -> None:
        super().__init__(weights, accumulate)
        self.loops = loops
