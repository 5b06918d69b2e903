"""A value path through the resolvent: a state-space mixer whose gates are read from a tridiagonal chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import ge, in_, lt

from resnetbk_plugins.sequence_mixer.eta_range import at_least_eta_low, has_square

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer


@attrs.frozen(kw_only=True)
class BKResolvent:
    """Each row sets a site's potential v and a source term u on `chains` tridiagonal chains, and reads the
    resolvent applied to the source terms so far, y_i = [(H - z)^-1 u]_i = g_i (u_i + y_{i-1}): the ratios g
    are complex gates, with a memory of their own, on the values carried. The output is scaled by a gate read
    from the row.

    chains       number of parallel chains, each with two complex numbers of state
    spread       energies are initialised evenly over [-spread, spread]; the free chain's band is [-2, 2]
    eta_low      imaginary parts of the energy are initialised evenly over [eta_low, eta_high]: how fast a
    eta_high     chain forgets
    hopping      "fixed": 1 between all neighbours; "signed": b_i, from -1 to 1, read from each row, which may
                 flip the sign of the values carried, y_i = g_i (u_i + b_i y_{i-1})
    convolution  size of a causal depthwise convolution before the chains; 0 for none
    dropout      share of the output that is set to zero in training
    """

    chains: int = attrs.field(default=128, validator=ge(1))
    spread: float = attrs.field(default=2.2, validator=ge(0.0))
    eta_low: float = attrs.field(default=0.05, validator=has_square)
    eta_high: float = attrs.field(default=1.7, validator=at_least_eta_low)
    convolution: int = attrs.field(default=4, validator=ge(0))
    hopping: Literal["fixed", "signed"] = attrs.field(default="fixed", validator=in_(("fixed", "signed")))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        from resnetbk_plugins.sequence_mixer.bk_resolvent_module import ResolventValues

        eta = (self.eta_low, self.eta_high)
        return ResolventValues(
            width, self.chains, self.spread, *eta, self.convolution, self.hopping == "signed", self.dropout
        )
