"""The dense two-layer perceptron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import attrs
from attrs.validators import ge, gt, in_, lt

if TYPE_CHECKING:
    from resnetbk.kinds import ChannelMixer

Activation: TypeAlias = Literal["relu2", "gelu", "gelu-tanh", "silu"]
ACTIVATIONS = get_args(Activation)


@attrs.frozen(kw_only=True)
class MLP:
    """width -> expansion * width -> width.

    expansion   hidden units, as a multiple of the width
    activation  `relu2` is max(x, 0)^2 (So et al., 2021, Primer), `gelu`, its approximation `gelu-tanh`, as in
                GPT-2, or `silu`
    bias        add a bias to both projections
    dropout     share of the output that is set to zero in training
    """

    expansion: float = attrs.field(default=4.0, validator=gt(0.0))
    activation: Activation = attrs.field(default="relu2", validator=in_(ACTIVATIONS))
    bias: bool = False
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def build(self, *, width: int, depth: int) -> ChannelMixer:
        from resnetbk_plugins.channel_mixer.mlp_module import DenseMLP

        return DenseMLP(width, self.expansion, self.activation, self.bias, self.dropout)
