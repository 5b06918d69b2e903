"""Sequence mixer `mamba2` of flash-linear-attention."""

from __future__ import annotations

import attrs
from attrs.validators import ge
from torch import nn

from resnetbk.errors import UserError
from resnetbk.spec import Spec
from resnetbk_fla.layer import FlaMixer, needs_cuda


@attrs.frozen(kw_only=True)
class Mamba2:
    """Mamba-2 (Dao and Gu, 2024), in twice the width.

    head_size   must divide twice the width of the model
    state_size  numbers of state for each channel
    """

    head_size: int = attrs.field(default=64, validator=ge(1))
    state_size: int = attrs.field(default=128, validator=ge(1))

    def check(self, spec: Spec) -> None:
        needs_cuda()
        self._fit(spec.model.width)

    def _fit(self, width: int) -> None:
        if 2 * width % self.head_size:
            raise UserError(f"head_size = {self.head_size} does not divide twice model.width = {width}")

    def build(self, *, width: int, depth: int) -> nn.Module:
        needs_cuda()
        self._fit(width)
        from fla.layers import Mamba2 as Layer

        layer = Layer(hidden_size=width, head_dim=self.head_size, state_size=self.state_size)
        return FlaMixer(layer, layer.out_proj)
