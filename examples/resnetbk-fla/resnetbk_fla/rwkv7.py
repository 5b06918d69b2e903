"""Sequence mixer `rwkv7` of flash-linear-attention."""

from __future__ import annotations

import attrs
from attrs.validators import ge
from torch import nn

from resnetbk.errors import UserError
from resnetbk.spec import Spec
from resnetbk_fla.layer import FlaMixer, needs_cuda


@attrs.frozen(kw_only=True)
class RWKV7:
    """Time mixing of RWKV-7 (Peng et al., 2025), without its mixing-in of the values of the first layer: a
    mixer sees no other. Every layer starts as the first does.

    head_size  must divide the width of the model
    """

    head_size: int = attrs.field(default=64, validator=ge(1))

    def check(self, spec: Spec) -> None:
        needs_cuda()
        self._fit(spec.model.width)

    def _fit(self, width: int) -> None:
        if width % self.head_size:
            raise UserError(f"head_size = {self.head_size} does not divide model.width = {width}")

    def build(self, *, width: int, depth: int) -> nn.Module:
        needs_cuda()
        self._fit(width)
        from fla.layers import RWKV7Attention as Layer

        # the initial weights divide by one less than the depth
        layer = Layer(
            hidden_size=width, head_dim=self.head_size, layer_idx=0, num_hidden_layers=max(depth, 2)
        )
        return FlaMixer(layer, layer.o_proj)
