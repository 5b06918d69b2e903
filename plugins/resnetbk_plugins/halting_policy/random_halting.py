"""Halting policy `random`: rows halt by chance, the control of learned decisions at an equal rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk.kinds import Stack

if TYPE_CHECKING:
    from resnetbk.kinds import HaltingPolicy
    from resnetbk.spec.spec import Spec


@attrs.frozen(kw_only=True)
class RandomHalting:
    """After each layer of a stack each row that still runs halts with one and the same probability q: depths
    are geometric, cut off at the n layers of the stack. q is such that `layers` of them run on average.

    In training the chances are drawn anew each time; otherwise they follow from layer, position and `seed`.

    layers  mean of the layers that run for a row in each stack, the first of which always does; where a stack
            has no more than that, all of them run
    seed    of the chances outside training
    """

    layers: float = attrs.field(validator=ge(1.0))
    seed: int = attrs.field(default=0, validator=ge(0))

    def check(self, spec: Spec) -> None:
        if self.layers > spec.model.depth:
            raise ValueError(f"layers must be at most model.depth = {spec.model.depth}, not {self.layers}")

    def build(self, *, width: int, stacks: Sequence[Stack]) -> HaltingPolicy:
        from resnetbk_plugins.halting_policy.random_halting_module import RandomRows

        return RandomRows([hazard(len(stack.layers), self.layers) for stack in stacks], self.seed)


def hazard(layers: int, mean: float) -> float:
    """The probability q to halt after each layer with which `mean` of `layers` layers run on average.

    That mean is 1 + (1 - q) + ... + (1 - q)^(layers - 1), which falls as q rises: found by bisection.
    """
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        q = (low + high) / 2
        if sum((1 - q) ** n for n in range(layers)) > mean:
            low = q
        else:
            high = q
    return low if mean < layers else 0.0
