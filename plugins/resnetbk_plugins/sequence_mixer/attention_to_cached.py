"""Causal softmax attention in loops, to the keys and values that rows had when last computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from resnetbk_plugins.sequence_mixer.attention_to_all import AttentionToAll

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class AttentionToCached(AttentionToAll):
    """`attention` of layers that loop, in which rows that have halted, or that a gate leaves out, are still
    attended to: by the key and value of the last loop that computed them, as in a cache that loops share
    (recursion-wise caching of Bae et al. 2025, arXiv:2507.10524, sees only rows that run as long; where all
    rows run in each loop, both are `attention`). In `attention-to-all` they give a key and a value of the
    state that they are left in, which each loop computes anew.

    Of a row that is not computed, only the norm and the convolution are, for the rows behind it.

    Generation computes whole windows: the cache of a layer has no row of a token that did not reach it.
    """

    def check(self, spec: Spec) -> None:
        super().check(spec)
        if spec.model.share != "layers":
            raise ValueError('needs model.share = "layers": other layers have other keys')
        if spec.model.recompute:
            raise ValueError("needs model.recompute = false: a loop reads the one before")
        if spec.model.resolution.name != "flat":
            raise ValueError('needs model.resolution = "flat": the rows of all loops')

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        from resnetbk_plugins.sequence_mixer.attention_to_cached_module import CausalAttentionToCached

        return self._built(CausalAttentionToCached, width)
