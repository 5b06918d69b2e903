"""The two-sided diagonal: every row sees the whole sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk_plugins.sequence_mixer.eta_range import at_least_eta_low, has_square

if TYPE_CHECKING:
    from resnetbk.kinds import SequenceMixer


@attrs.frozen(kw_only=True)
class BKDiagonal:
    """Each row sets the potential of a site of `chains` tridiagonal chains and reads back the diagonal of
    the full resolvent there, [(H - z)^-1]_ii, which depends on every site before and after it: for masked
    objectives and encoders, not for predicting the next token.

    chains    number of parallel chains
    spread    energies are initialised evenly over [-spread, spread]; the free chain's band is [-2, 2]
    eta_low   imaginary parts of the energy are initialised evenly over [eta_low, eta_high]: how far a row
    eta_high  sees (the influence of a site at distance d falls like exp(-d asinh(eta)) or faster)
    """

    chains: int = attrs.field(default=128, validator=ge(1))
    spread: float = attrs.field(default=2.2, validator=ge(0.0))
    eta_low: float = attrs.field(default=0.47, validator=has_square)
    eta_high: float = attrs.field(default=1.7, validator=at_least_eta_low)

    def build(self, *, width: int, depth: int) -> SequenceMixer:
        from resnetbk_plugins.sequence_mixer.bk_diagonal_module import TwoSidedChains

        return TwoSidedChains(width, self.chains, self.spread, self.eta_low, self.eta_high)
