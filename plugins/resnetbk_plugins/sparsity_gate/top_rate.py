"""Sparsity gate `top-rate`: rows whose score is above a threshold that holds the density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk_plugins.sparsity_gate.gated import Scope, are_layers, check_gated, gated, is_density

if TYPE_CHECKING:
    from resnetbk.kinds import SparsityGate
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class TopRate:
    """Mixture-of-Depths (Raposo et al. 2024, arXiv:2404.02258) without its look at the future: each gated
    layer scores rows by a linear map, and keeps those above a threshold instead of the k best of a sequence.
    The threshold follows the scores seen in training, so that the share `keep` of them lies above it.

    keep    the share of rows that a gated layer computes; at 1 the gate leaves everything alone
    scope   what is left out for the others: the whole "layer", or its "mixer" or "channel" mixer alone
    layers  the layers that are gated, from 0; all but the first when none are named
    fill    rows back that a causal convolution reads to fill in a row left out; 0 lets it pass unchanged
    """

    keep: float = attrs.field(default=0.5, validator=is_density)
    scope: Scope = "layer"
    layers: tuple[int, ...] | None = attrs.field(default=None, validator=are_layers)
    fill: int = attrs.field(default=4, validator=ge(0))

    def check(self, spec: Spec) -> None:
        check_gated(self.layers, self.scope, spec)

    def build(self, *, width: int, depth: int) -> SparsityGate:
        from resnetbk_plugins.sparsity_gate.top_rate_module import TopRateGate

        return TopRateGate(
            width, gated(self.keep, self.layers, depth), self.scope, density=self.keep, fill=self.fill
        )
