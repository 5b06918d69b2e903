"""Causal chains: the one-sided resolvent diagonal as a sequence mixer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt

from resnetbk_plugins.sequence_mixer.eta_range import at_least_eta_low

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer


@attrs.frozen(kw_only=True)
class BKCausal:
    """Each row sets the potential of one more site of `chains` tridiagonal chains; what it reads back is
    the last diagonal element of each chain's resolvent, which depends on the sites so far alone.

    chains       how many chains run side by side, each with one complex number of state
    spread       energies start evenly over [-spread, spread]; the free chain's band is [-2, 2]
    eta_low      imaginary part of the energy, evenly spread over the chains at the start: how fast
    eta_high     a chain forgets (|g| <= 1 / eta). Started near 0.02 it learns badly
    convolution  rows that a causal convolution mixes, channel by channel, before the chains; 0 for none
    """

    chains: int = attrs.field(default=128, validator=ge(1))
    spread: float = attrs.field(default=2.2, validator=ge(0.0))
    eta_low: float = attrs.field(default=0.47, validator=gt(0.0))
    eta_high: float = attrs.field(default=1.7, validator=at_least_eta_low)
    convolution: int = attrs.field(default=4, validator=ge(0))

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        from resnetbk_plugins.sequence_mixer.bk_causal_module import CausalChains

        return CausalChains(width, self.chains, self.spread, self.eta_low, self.eta_high, self.convolution)
