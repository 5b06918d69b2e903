"""Sparsity gate `top-rate`: computes rows whose score is above a threshold, adapted to the density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk_plugins.sparsity_gate.gated import DENSITY, Scope, are_layers, check_gated, gated

if TYPE_CHECKING:
    from resnetbk.kinds import SparsityGate
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class TopRate:
    """Mixture-of-Depths (Raposo et al. 2024, arXiv:2404.02258), made causal: each gated layer scores rows
    by a linear map, and computes those above a threshold instead of the top k of a sequence, which depend
    on future rows. The threshold follows the scores in training, so that a share `keep` is above it.

    keep    the share of rows that a gated layer computes; at 1 nothing is skipped
    scope   what the other rows skip: the whole "layer", or only its "mixer" or "channel" mixer
    layers  the gated layers, from 0; by default all except the first
    fill    size of the causal convolution that fills skipped rows; with 0 they pass unchanged
    """

    keep: float = attrs.field(default=0.5, validator=DENSITY)
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
