"""Moebius chains: rotations read from each row, which carry values and need not forget them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, lt

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer


@attrs.frozen(kw_only=True)
class BKMoebius:
    """Each row has a unit quaternion q for each of `chains` chains: a transfer matrix in SU(2), which rotates
    the chain's state. The state is a quaternion y_i = f_i y_{i-1} q_i + (1 - f_i) u_i of values u read from
    the rows, with a forget gate f between 0 and 1 for each row and chain; or, without values, the product
    q_0 ... q_i itself, which never forgets (such words over groups: Merrill et al. 2024, arXiv:2404.08819).

    chains       number of parallel chains, each with four numbers of state
    values       false: the state is the product of the rotations, read as nine entries of a rotation matrix
    gate_low     forget gates are initialised over [gate_low, gate_high], evenly before the sigmoid: one of
    gate_high    0.95 forgets within some twenty rows. Text wants short memories (0.27 to 0.993 costs 0.036
                 nats: specs/mixers, 400 steps, one seed), words over groups long ones: 0.99 or more
    convolution  size of a causal depthwise convolution before the chains; 0 for none
    dropout      share of the output that is set to zero in training

    Rotations start near the identity.
    """

    chains: int = attrs.field(default=32, validator=ge(1))
    values: bool = True
    gate_low: float = attrs.field(default=0.05, validator=[gt(0.0), lt(1.0)])
    gate_high: float = attrs.field(default=0.95, validator=[gt(0.0), lt(1.0)])
    convolution: int = attrs.field(default=4, validator=ge(0))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        from resnetbk_plugins.sequence_mixer.bk_moebius_module import MoebiusChains

        gates = (self.gate_low, self.gate_high)
        return MoebiusChains(width, self.chains, self.values, *gates, self.convolution, self.dropout)
