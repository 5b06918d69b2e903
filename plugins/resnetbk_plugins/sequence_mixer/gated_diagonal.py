"""A gated average in each channel: the plainest recurrence with a forget gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, lt, optional

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer


@attrs.frozen(kw_only=True)
class GatedDiagonal:
    """Each channel averages what it has read, h_i = f_i h_{i-1} + (1 - f_i) u_i; its forget gate f_i, between
    0 and 1, and its value u_i are read from the row alone, so rows are computed in parallel (minGRU: Feng et
    al. 2024, arXiv:2410.01201; HGRN: Qin et al. 2023, arXiv:2311.04823). The time constants -1 / log(f) are
    initialised evenly in their logarithm, from 1 to 128 rows.

    channels     numbers of state; as many as the model's width by default
    output_gate  multiply the normed channels by silu of a linear map of the row, as HGRN does and minGRU does
                 not. At equal parameters it costs tiny Shakespeare 0.02 nats (specs/mixers, two seeds)
    convolution  size of a causal depthwise convolution before gates and values; 0 for none
    dropout      share of the output that is set to zero in training
    """

    channels: int | None = attrs.field(default=None, validator=optional(ge(1)))
    output_gate: bool = True
    convolution: int = attrs.field(default=4, validator=ge(0))
    dropout: float = attrs.field(default=0.0, validator=[ge(0.0), lt(1.0)])

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        from resnetbk_plugins.sequence_mixer.gated_diagonal_module import GatedAverages

        channels = self.channels or width
        return GatedAverages(width, channels, self.output_gate, self.convolution, self.dropout)
