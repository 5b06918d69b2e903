"""Causal softmax attention to all rows, to those too that the layer does not compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from resnetbk_plugins.sequence_mixer.attention import Attention

if TYPE_CHECKING:
    from resnetbk.kinds import StreamingMixer
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class AttentionToAll(Attention):
    """`attention` in which rows that have halted, or that a gate leaves out, are still attended to: each
    gives a key and a value of the state that it is left in (as in Dehghani et al. 2018, arXiv:1807.03819, and
    Schuster et al. 2022, arXiv:2207.07061). In the other mixers such rows are gone for all later rows, so
    that a row which others depend on has to run as long as they do, and nothing tells it so.

    What is saved of a row that is not computed is all but the two projections to its key and value.

    Generation computes whole windows: the cache of a layer has no row of a token that did not reach it.
    """

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.packed:
            raise ValueError(
                "packed = true leaves no gaps where rows are left out, and none is here: use attention"
            )

    def check(self, spec: Spec) -> None:
        super().check(spec)
        if spec.model.wiring != "sequential":
            raise ValueError('needs model.wiring = "sequential": other rows are only normed')

    def build(self, *, width: int, depth: int) -> StreamingMixer:
        from resnetbk_plugins.sequence_mixer.attention_to_all_module import CausalAttentionToAll

        return self._built(CausalAttentionToAll, width)
