"""Halting policy `random`: rows halt at random, the control for learned decisions at an equal rate."""

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
    """After each layer of a stack each running row halts with the same probability q: depths are geometric,
    truncated at the n layers of the stack. q is such that `layers` of them run on average.

    In training random numbers are drawn in every pass; otherwise they depend on layer, position and `seed`.

    layers  mean number of layers that a row runs in each stack, of which the first always runs; in a stack
            with no more layers than that, all run
    seed    of the random numbers outside training
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

    That mean is 1 + (1 - q) + ... + (1 - q)^(layers - 1), which falls as q rises: solved by bisection.
    """
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        q = (low + high) / 2
        if sum((1 - q) ** n for n in range(layers)) > mean:
            low = q
        else:
            high = q
    return low if mean < layers else 0.0
