"""Sparsity gate `saliency`: computes rows that the loss depends on, decided once for all gated layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import gt, lt

from resnetbk_plugins.sparsity_gate.gated import DENSITY, are_layers, check_gated

if TYPE_CHECKING:
    from resnetbk.kinds import SparsityGate
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Saliency:
    """Leaves rows that hardly matter to the loss out of all gated layers. A row matters if in training its
    gradient behind the first gated layer is among the largest of the batch (gradients as saliency: Simonyan
    et al. 2013, arXiv:1312.6034). Linear regression on the row before that layer predicts the chance of it.
    Once that explains enough, rows are computed unless their chance is a quarter of that of any row, or less;
    until then, and for ever where a row does not tell, all.

    It needs no other row, so decisions are causal. A row that is left out has no gradient: rows like it stay
    out. Decided too early, it leaves out what the model has not yet learned to use.

    keep       the share of rows whose gradients count as large, best the share that is needed; about as many
               are computed. At 1 nothing is skipped
    explained  the share of the variance, of whether a row matters, that must be explained before it decides
    layers     the gated layers, from 0, two or more; by default all
    """

    keep: float = attrs.field(default=0.25, validator=DENSITY)
    explained: float = attrs.field(default=0.8, validator=[gt(0.0), lt(1.0)])
    layers: tuple[int, ...] | None = attrs.field(default=None, validator=are_layers)

    def check(self, spec: Spec) -> None:
        if self.layers is not None:
            check_gated(self.layers, "layer", spec)
        if len(self.layers or range(spec.model.depth)) < 2:
            raise ValueError(
                "learns from what the second gated layer reads, so it must gate 2 layers or more"
            )

    def build(self, *, width: int, depth: int) -> SparsityGate:
        from resnetbk_plugins.sparsity_gate.saliency_module import SaliencyGate

        layers = range(depth) if self.layers is None else sorted(self.layers)
        return SaliencyGate(width, () if self.keep == 1.0 else tuple(layers), self.keep, self.explained)
