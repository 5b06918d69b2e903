"""Mixture of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt

from resnetbk_plugins.channel_mixer.mlp import known_activation

if TYPE_CHECKING:
    from resnetbk.kinds import ChannelMixer


@attrs.frozen(kw_only=True)
class MoE:
    """A router sends each row to its `top_k` most probable experts; only those compute, on that row alone.

    No capacity limit: no row is dropped, and none depends on where the others went, but for rounding: how
    many rows share an expert can change the last bits of a matrix product.

    experts     how many MLPs there are
    top_k       how many of them each row visits
    expansion   hidden units of one expert for each unit of width
    activation  `relu2`, `gelu` or `silu`
    balance     weight of the penalty that keeps the experts evenly used
    """

    experts: int = attrs.field(default=4, validator=ge(1))
    top_k: int = attrs.field(default=1, validator=ge(1))
    expansion: float = attrs.field(default=4.0, validator=gt(0.0))
    activation: str = attrs.field(default="relu2", validator=known_activation)
    balance: float = attrs.field(default=0.01, validator=ge(0.0))

    @top_k.validator
    def _chosen(self, attribute: attrs.Attribute[int], value: int) -> None:
        if value > self.experts:
            raise ValueError(f"top_k must be at most experts = {self.experts}, not {value}")

    def build(self, *, width: int, depth: int) -> ChannelMixer:
        from resnetbk_plugins.channel_mixer.moe_module import MixtureOfExperts

        return MixtureOfExperts(
            width, self.experts, self.top_k, self.expansion, self.activation, self.balance
        )
