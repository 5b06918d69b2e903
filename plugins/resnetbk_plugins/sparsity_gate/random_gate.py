"""Sparsity gate `random`: any row may be left out. The control for gates that choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk_plugins.sparsity_gate.gated import Scope, are_layers, check_gated, gated, is_density

if TYPE_CHECKING:
    from resnetbk.kinds import SparsityGate
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Random:
    """Each gated layer keeps each row with the same probability, whatever is in it.

    While training, by torch's seeded generator; else by layer and position alone, the same every time.

    keep    the share of rows that a gated layer computes; at 1 the gate leaves everything alone
    scope   what is left out for the others: the whole "layer", or its "mixer" or "channel" mixer alone
    layers  the layers that are gated, from 0; all but the first when none are named
    fill    rows back that a causal convolution reads to fill in a row left out; 0 lets it pass unchanged
    seed    of the choice when not training
    """

    keep: float = attrs.field(default=0.5, validator=is_density)
    scope: Scope = "layer"
    layers: tuple[int, ...] | None = attrs.field(default=None, validator=are_layers)
    fill: int = attrs.field(default=4, validator=ge(0))
    seed: int = attrs.field(default=0, validator=ge(0))

    def check(self, spec: Spec) -> None:
        check_gated(self.layers, self.scope, spec)

    def build(self, *, width: int, depth: int) -> SparsityGate:
        from resnetbk_plugins.sparsity_gate.random_gate_module import RandomGate

        layers = gated(self.keep, self.layers, depth)
        return RandomGate(width, layers, self.scope, self.keep, self.fill, self.seed)
