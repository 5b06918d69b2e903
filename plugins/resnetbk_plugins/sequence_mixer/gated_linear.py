"""Linear attention with a scalar decay: the baseline among mixers of constant-size state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, lt

from resnetbk.errors import UserError

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class GatedLinear:
    """Each head has a state matrix S_i = a_i S_{i-1} + k_i v_i^T and reads q_i^T S_i; the decay a_i, between
    0 and 1, is a scalar per head, read from the row (Mamba-2: Dao & Gu 2024, arXiv:2405.21060; GLA: Yang et
    al. 2023, arXiv:2312.06635). Computed in chunks: quadratic within a chunk, linear in the length.

    heads        must divide the width
    keys         size of q and k in each head: its state is keys x (width / heads)
    chunk        rows per chunk
    convolution  size of a causal depthwise convolution before q, k and v; 0 for none
    dropout      share of the output that is set to zero in training
    """

    heads: int = attrs.field(default=4, validator=ge(1))
    keys: int = attrs.field(default=32, validator=ge(1))
    chunk: int = attrs.field(default=64, validator=ge(1))
    convolution: int = attrs.field(default=4, validator=ge(0))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def check(self, spec: Spec) -> None:
        self._fit(spec.model.width)

    def _fit(self, width: int) -> None:
        if width % self.heads:
            raise UserError(f"heads = {self.heads} must divide model.width = {width}")

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        self._fit(width)
        from resnetbk_plugins.sequence_mixer.gated_linear_module import DecayingStates

        return DecayingStates(width, self.heads, self.keys, self.chunk, self.convolution, self.dropout)
