"""Sparsity gate `random`: rows are skipped at random. The control for gates that learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk_plugins.sparsity_gate.gated import DENSITY, Scope, are_layers, check_gated, gated

if TYPE_CHECKING:
    from resnetbk.kinds import SparsityGate
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Random:
    """Each gated layer computes each row with the same probability, independent of its content.

    In training random numbers are drawn in every pass; otherwise they depend on layer, position and `seed`.

    keep    the share of rows that a gated layer computes; at 1 nothing is skipped
    scope   what the other rows skip: the whole "layer", or only its "mixer" or "channel" mixer
    layers  the gated layers, from 0; by default all except the first
    fill    size of the causal convolution that fills skipped rows; with 0 they pass unchanged
    seed    of the random numbers outside training
    """

    keep: float = attrs.field(default=0.5, validator=DENSITY)
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
