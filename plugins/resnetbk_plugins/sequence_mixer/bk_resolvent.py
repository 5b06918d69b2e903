"""A value path through the resolvent: a state-space mixer whose gates come from a quantum chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt

from resnetbk_plugins.sequence_mixer.eta_range import at_least_eta_low

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer


@attrs.frozen(kw_only=True)
class BKResolvent:
    """Each row sets a site's potential v and a source u on `chains` tridiagonal chains, and reads the
    resolvent applied to the sources so far, y_i = [(H - z)^-1 u]_i = g_i (u_i + y_{i-1}): the ratios g are
    the gates, complex and with memory of their own, that carry values along. A gate from the row scales
    what is read.

    chains       how many chains run side by side, each with two complex numbers of state
    spread       energies start evenly over [-spread, spread]; the free chain's band is [-2, 2]
    eta_low      imaginary part of the energy, evenly spread over the chains at the start: how fast
    eta_high     a chain forgets
    convolution  rows that a causal convolution mixes, channel by channel, before the chains; 0 for none
    """

    chains: int = attrs.field(default=128, validator=ge(1))
    spread: float = attrs.field(default=2.2, validator=ge(0.0))
    eta_low: float = attrs.field(default=0.05, validator=gt(0.0))
    eta_high: float = attrs.field(default=1.7, validator=at_least_eta_low)
    convolution: int = attrs.field(default=4, validator=ge(0))

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        from resnetbk_plugins.sequence_mixer.bk_resolvent_module import ResolventValues

        return ResolventValues(width, self.chains, self.spread, self.eta_low, self.eta_high, self.convolution)
