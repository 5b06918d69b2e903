"""Causal chains: the one-sided resolvent diagonal as a sequence mixer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import ge, in_, lt

from resnetbk_plugins.sequence_mixer.eta_range import at_least_eta_low, has_square

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer


@attrs.frozen(kw_only=True)
class BKCausal:
    """Each row sets the potential of the next site of `chains` tridiagonal chains, and reads the last
    diagonal element of each chain's resolvent, which depends only on the sites so far.

    chains       number of parallel chains, each with one complex number of state
    spread       energies are initialised evenly over [-spread, spread]; the free chain's band is [-2, 2]
    eta_low      imaginary parts of the energy are initialised evenly over [eta_low, eta_high]: how fast a
    eta_high     chain forgets (|g| <= 1 / eta). Initialised near 0.02 it learns badly
    hopping      "fixed": 1 between all neighbours; "signed": b_i, from -1 to 1, read from each row, which may
                 flip the sign of what the chain holds, g_i = 1 / (a_i - b_i g_{i-1}), eta with the sign of
                 the ratio. What is to last longer than a few rows needs a small eta_low
    convolution  size of a causal depthwise convolution before the chains; 0 for none
    dropout      share of the output that is set to zero in training
    """

    chains: int = attrs.field(default=128, validator=ge(1))
    spread: float = attrs.field(default=2.2, validator=ge(0.0))
    eta_low: float = attrs.field(default=0.47, validator=has_square)
    eta_high: float = attrs.field(default=1.7, validator=at_least_eta_low)
    convolution: int = attrs.field(default=4, validator=ge(0))
    hopping: Literal["fixed", "signed"] = attrs.field(default="fixed", validator=in_(("fixed", "signed")))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        from resnetbk_plugins.sequence_mixer.bk_causal_module import CausalChains

        eta = (self.eta_low, self.eta_high)
        return CausalChains(
            width, self.chains, self.spread, *eta, self.convolution, self.hopping == "signed", self.dropout
        )
