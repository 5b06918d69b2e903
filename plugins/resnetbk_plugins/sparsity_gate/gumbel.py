"""Sparsity gate `gumbel`: a small network scores every row, trained through a noisy relaxation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt

from resnetbk_plugins.sparsity_gate.gated import DENSITY, Scope, are_layers, check_gated, gated

if TYPE_CHECKING:
    from resnetbk.kinds import SparsityGate
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Gumbel:
    """Computes a row if its importance is above zero; in training, with logistic noise added to it (Jang et
    al. 2016, arXiv:1611.01144; Maddison et al. 2016, arXiv:1611.00712). Computed rows have weight 1, with
    the gradient of the relaxed gate sigmoid((importance + noise) / temperature).

    keep               the share of rows that a gated layer computes; at 1 nothing is skipped
    scope              what the other rows skip: the whole "layer", or only its "mixer" or "channel" mixer
    layers             the gated layers, from 0; by default all except the first
    fill               size of the causal convolution that fills skipped rows; with 0 they pass unchanged
    hidden             hidden width of the network that scores rows
    temperature        of the relaxation at the first step of training
    final_temperature  at the last step; it falls by the same factor at every step
    weight             of the penalty on a gated layer that computes more or fewer rows than `keep`
    """

    keep: float = attrs.field(default=0.5, validator=DENSITY)
    scope: Scope = "layer"
    layers: tuple[int, ...] | None = attrs.field(default=None, validator=are_layers)
    fill: int = attrs.field(default=4, validator=ge(0))
    hidden: int = attrs.field(default=32, validator=ge(1))
    temperature: float = attrs.field(default=2.0, validator=gt(0.0))
    final_temperature: float = attrs.field(default=0.5, validator=gt(0.0))
    weight: float = attrs.field(default=1.0, validator=ge(0.0))

    def check(self, spec: Spec) -> None:
        check_gated(self.layers, self.scope, spec)

    def build(self, *, width: int, depth: int) -> SparsityGate:
        from resnetbk_plugins.sparsity_gate.gumbel_module import GumbelGate

        return GumbelGate(
            width,
            gated(self.keep, self.layers, depth),
            self.scope,
            density=self.keep,
            fill=self.fill,
            hidden=self.hidden,
            temperatures=(self.temperature, self.final_temperature),
            weight=self.weight,
        )
