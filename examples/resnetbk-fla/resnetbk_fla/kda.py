"""Sequence mixer `kda` of flash-linear-attention."""

from __future__ import annotations

import attrs
from attrs.validators import ge
from torch import nn

from resnetbk.spec import Spec
from resnetbk_fla.layer import FlaMixer, needs_cuda


@attrs.frozen(kw_only=True)
class KDA:
    """Kimi delta attention (Kimi Team, 2025), with short convolutions and an output gate.

    heads      number of heads
    head_size  size of the queries and keys of a head
    expansion  size of the values of a head, in sizes of its keys
    """

    heads: int = attrs.field(default=4, validator=ge(1))
    head_size: int = attrs.field(default=64, validator=ge(16))
    expansion: int = attrs.field(default=1, validator=ge(1))

    def check(self, spec: Spec) -> None:
        needs_cuda()

    def build(self, *, width: int, depth: int) -> nn.Module:
        needs_cuda()
        from fla.layers import KimiDeltaAttention as Layer

        layer = Layer(
            hidden_size=width, num_heads=self.heads, head_dim=self.head_size, expand_v=self.expansion
        )
        return FlaMixer(layer, layer.o_proj)
