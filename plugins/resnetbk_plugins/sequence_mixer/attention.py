"""Causal softmax attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, lt

from resnetbk.errors import UserError

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Attention:
    """Multi-head causal attention (Vaswani et al., 2017), with rotary positions (Su et al., 2021).

    heads        must divide the model's width; with `rope`, the size of a head must be even
    rope         rotate queries and keys by the rows' absolute positions; without it only the causal mask
                 depends on the order
    rope_base    the slowest rotation takes about 2 pi rope_base tokens
    bias         add a bias to all four projections
    convolution  size of a causal depthwise convolution before q, k and v; 0 for none
    dropout      share of the attention weights, and of the output, that is set to zero in training
    """

    heads: int = attrs.field(default=4, validator=ge(1))
    rope: bool = True
    rope_base: float = attrs.field(default=10000.0, validator=gt(1.0))
    bias: bool = False
    convolution: int = attrs.field(default=0, validator=ge(0))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def check(self, spec: Spec) -> None:
        self._fit(spec.model.width)

    def _fit(self, width: int) -> None:
        if width % self.heads:
            allowed = ", ".join(str(heads) for heads in range(1, min(width, 64) + 1) if width % heads == 0)
            raise UserError(f"heads = {self.heads} does not divide model.width = {width}; allowed: {allowed}")
        if self.rope and width // self.heads % 2:
            raise UserError(
                f"rope needs an even head size, not {width // self.heads} "
                f"(model.width = {width}, heads = {self.heads}); set rope = false or change heads"
            )

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        self._fit(width)
        from resnetbk_plugins.sequence_mixer.attention_module import CausalAttention

        rope_base = self.rope_base if self.rope else None
        return CausalAttention(width, self.heads, rope_base, self.bias, self.convolution, self.dropout)
