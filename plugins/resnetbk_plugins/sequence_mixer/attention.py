"""Causal softmax attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt, lt, optional

from resnetbk.errors import UserError

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer
    from resnetbk.spec import Spec
    from resnetbk_plugins.sequence_mixer.attention_module import CausalAttention


@attrs.frozen(kw_only=True)
class Attention:
    """Multi-head causal attention (Vaswani et al., 2017), with rotary positions (Su et al., 2021).

    heads        must divide the model's width; with `rope`, the size of a head must be even
    kv_heads     heads of keys and values, each for equally many heads of queries: grouped-query attention
                 (Ainslie et al., 2023); must divide `heads`, and is as many by default
    window       a row sees this many rows, the last of them itself (Beltagy et al., 2020); all by default.
                 Work per row and the streaming state no longer grow with the length
    qk_norm      RMS norm, with a learned scale, of each head's query and key (Dehghani et al., 2023)
    rope         rotate queries and keys by the rows' absolute positions; without it only the causal mask
                 depends on the order
    packed       rotate by how many rows the layer computed before, instead: the rows that a gate or scheduler
                 leaves out then leave no gaps, so that those it keeps can be found by counting
    rope_base    the slowest rotation takes about 2 pi rope_base tokens
    bias         add a bias to all four projections
    convolution  size of a causal depthwise convolution before q, k and v; 0 for none
    dropout      share of the attention weights, and of the output, that is set to zero in training
    """

    heads: int = attrs.field(default=4, validator=ge(1))
    kv_heads: int | None = attrs.field(default=None, validator=optional(ge(1)))
    window: int | None = attrs.field(default=None, validator=optional(ge(1)))
    qk_norm: bool = False
    rope: bool = True
    packed: bool = False
    rope_base: float = attrs.field(default=10000.0, validator=gt(1.0))
    bias: bool = False
    convolution: int = attrs.field(default=0, validator=ge(0))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    @kv_heads.validator
    def _divides_heads(self, attribute: attrs.Attribute[int | None], value: int | None) -> None:
        if value is not None and self.heads % value:
            allowed = ", ".join(
                str(number) for number in range(1, self.heads + 1) if self.heads % number == 0
            )
            raise ValueError(f"kv_heads must divide heads = {self.heads}, not {value}; allowed: {allowed}")

    def __attrs_post_init__(self) -> None:
        if self.packed and not self.rope:
            raise ValueError("packed = true says what rope rotates by, so it needs rope = true")

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
        from resnetbk_plugins.sequence_mixer.attention_module import CausalAttention

        return self._built(CausalAttention, width)

    def _built(self, module: type[CausalAttention], width: int) -> CausalAttention:
        self._fit(width)
        return module(
            width,
            self.heads,
            self.kv_heads or self.heads,
            window=self.window,
            qk_norm=self.qk_norm,
            rope_base=self.rope_base if self.rope else None,
            packed=self.packed,
            bias=self.bias,
            convolution=self.convolution,
            dropout=self.dropout,
        )
