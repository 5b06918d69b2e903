"""The perceptron with a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, in_, lt

from resnetbk_plugins.channel_mixer.mlp import ACTIVATIONS, Activation

if TYPE_CHECKING:
    from resnetbk.kinds import ChannelMixer


@attrs.frozen(kw_only=True)
class SwiGLU:
    """output(activation(gate(x)) * expand(x)) (Shazeer, 2020), with about as many weights as `mlp` has.

    expansion   2/3 of this times the width, rounded to a multiple of 8, are the hidden units: three matrices
                take as many weights as the two of an `mlp` of the same expansion
    activation  of the gate: `silu`, which makes it SwiGLU, `gelu` (GEGLU) or its approximation `gelu-tanh`,
                or `relu2`, which is max(x, 0)^2
    bias        add a bias to all three projections
    dropout     share of the output that is set to zero in training
    """

    expansion: float = attrs.field(default=4.0, validator=gt(0.0))
    activation: Activation = attrs.field(default="silu", validator=in_(ACTIVATIONS))
    bias: bool = False
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def build(self, *, width: int, depth: int) -> ChannelMixer:
        from resnetbk_plugins.channel_mixer.swiglu_module import GatedMLP

        return GatedMLP(width, self.expansion, self.activation, self.bias, self.dropout)
