"""Product-key memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, le

if TYPE_CHECKING:
    from resnetbk.kinds import ChannelMixer


@attrs.frozen(kw_only=True)
class Memory:
    """A table of keys^2 values, of which each row reads heads * top_k (Lample et al. 2019, arXiv:1907.05242).

    A head makes a query of the row and compares each half of it with `keys` half-keys; a slot's score is the
    sum of its two. So its cost grows with the root of what it stores, and the gradient of the values is a
    sparse tensor, for which an optimizer's `table_lr` counts. It is linear between slots: in a pattern beside
    `mlp`, channel = ["mlp", "memory"], it replaces one in some layers.

    keys   half-keys of each half: the table has keys^2 rows, which all heads share
    heads  queries of a row, each width / heads numbers long, with keys of their own
    top_k  slots that a head reads, at most `keys`
    """

    keys: int = attrs.field(default=128, validator=[ge(1), le(2**15)])
    heads: int = attrs.field(default=4, validator=ge(1))
    top_k: int = attrs.field(default=4, validator=ge(1))

    @top_k.validator
    def _at_most_keys(self, attribute: attrs.Attribute[int], value: int) -> None:
        if value > self.keys:
            raise ValueError(f"top_k must be at most keys = {self.keys}, not {value}")

    def build(self, *, width: int, depth: int) -> ChannelMixer:
        from resnetbk_plugins.channel_mixer.memory_module import ProductKeyMemory

        return ProductKeyMemory(width, self.keys, self.heads, self.top_k)
