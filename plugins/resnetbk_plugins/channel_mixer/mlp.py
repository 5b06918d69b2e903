"""The dense two-layer perceptron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import gt

from resnetbk.errors import nearest

if TYPE_CHECKING:
    from resnetbk.kinds import ChannelMixer

ACTIVATIONS = ("relu2", "gelu", "silu")


def known_activation(component: object, attribute: attrs.Attribute[str], value: str) -> None:
    """An attrs validator: one of `ACTIVATIONS`."""
    if value not in ACTIVATIONS:
        raise ValueError(f"unknown activation {value!r}{nearest(value, ACTIVATIONS)}")


@attrs.frozen(kw_only=True)
class MLP:
    """width -> expansion * width -> width.

    expansion   hidden units, as a multiple of the width
    activation  `relu2` is max(x, 0)^2 (So et al., 2021, Primer), `gelu`, or `silu`
    bias        add a bias to both projections
    """

    expansion: float = attrs.field(default=4.0, validator=gt(0.0))
    activation: str = attrs.field(default="relu2", validator=known_activation)
    bias: bool = False

    def build(self, *, width: int, depth: int) -> ChannelMixer:
        from resnetbk_plugins.channel_mixer.mlp_module import DenseMLP

        return DenseMLP(width, self.expansion, self.activation, self.bias)
