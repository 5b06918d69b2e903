"""Mixture of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, in_

from resnetbk_plugins.channel_mixer.mlp import ACTIVATIONS, Activation

if TYPE_CHECKING:
    from resnetbk.kinds import ChannelMixer


@attrs.frozen(kw_only=True)
class MoE:
    """A router sends each row to its `top_k` most probable experts; the others do not compute it.

    There is no capacity limit: no row is dropped, and no row depends on where others are routed, except for
    rounding (the number of rows at an expert can change the last bits of a matrix product).

    experts     number of experts, each an MLP
    top_k       experts per row
    expansion   hidden units of an expert, as a multiple of the width
    activation  `relu2`, `gelu`, `gelu-tanh` or `silu`
    balance     weight of the load-balancing penalty
    """

    experts: int = attrs.field(default=4, validator=ge(1))
    top_k: int = attrs.field(default=1, validator=ge(1))
    expansion: float = attrs.field(default=4.0, validator=gt(0.0))
    activation: Activation = attrs.field(default="relu2", validator=in_(ACTIVATIONS))
    balance: float = attrs.field(default=0.01, validator=ge(0.0))

    @top_k.validator
    def _at_most_experts(self, attribute: attrs.Attribute[int], value: int) -> None:
        if value > self.experts:
            raise ValueError(f"top_k must be at most experts = {self.experts}, not {value}")

    def build(self, *, width: int, depth: int) -> ChannelMixer:
        from resnetbk_plugins.channel_mixer.moe_module import MixtureOfExperts

        return MixtureOfExperts(
            width, self.experts, self.top_k, self.expansion, self.activation, self.balance
        )
