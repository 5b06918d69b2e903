"""Initializer `scratch`: fresh random weights. The identity of its kind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
from attrs.validators import gt, optional

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnetbk.kinds import Tokenizer


@attrs.frozen(kw_only=True)
class Scratch:
    """Leaves the weights as the components built them, or redraws them by GPT-2's scheme.

    With `std`, every matrix, table and convolution is drawn from N(0, std^2), those at the end of a
    residual branch (`...output.weight`) from N(0, std^2 / (2 depth)) so that the sum over the 2 depth
    branches keeps its scale, and biases are zero (Radford et al., 2019, section 2.3; std 0.02). Weights
    that a component built constant stay: normalisation gains, a halting bias below zero, hashed tables
    and a head that start at zero. So do weights of other roles, and biases that a component gave a role
    to, such as time constants that are spread on purpose. Short convolutions that start as the
    identity instead cost `bk-causal` 0.04 to 0.09 nats (specs/mixers, 400 steps, one seed).
    """

    std: float | None = attrs.field(default=None, validator=optional(gt(0.0)))

    def build(self) -> ScratchInitializer:
        return ScratchInitializer(self.std)


class ScratchInitializer:
    """Draws from torch's global generator, in the order of the parameters."""

    def __init__(self, std: float | None) -> None:
        self.std = std

    def initialize(self, model: nn.Module, tokenizer: Tokenizer, depth: int) -> list[str]:
        """Sets weights in place; returns one line that says what it did."""
        if self.std is None:
            return ["weights as their components built them"]
        from torch import nn

        from resnetbk.model.weights import declared_roles

        output_std = self.std / math.sqrt(2 * depth)
        drawn = outputs = 0
        for name, parameter, role in declared_roles(model):
            kind = name.rpartition(".")[2]
            if kind == "weight" and role in ("matrix", "table", "convolution"):
                if name.endswith("output.weight"):
                    nn.init.normal_(parameter, std=output_std)
                    outputs += 1
                elif not _constant(parameter):
                    nn.init.normal_(parameter, std=self.std)
                    drawn += 1
            elif kind == "bias" and role is None and not _constant(parameter):
                nn.init.zeros_(parameter)
        return [
            f"drew {drawn} weights from N(0, {self.std:g}^2) "
            f"and {outputs} residual outputs from N(0, {output_std:.3g}^2)"
        ]


def _constant(parameter: Tensor) -> bool:
    return bool((parameter == parameter.flatten()[0]).all())
