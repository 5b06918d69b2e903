"""Corpus `pointer-chase`: k steps along a random cycle, which demands depth.

An example gives the edges (u, pi(u)) of one random cycle through some names, in random order, and then asks
for pi^k(u). A layer of attention can follow an edge, so that depth grows with k, with pointer doubling with
log k (p-hop: Sanford, Hsu and Telgarsky 2024, arXiv:2402.09268; Depo: Allen-Zhu 2025, "Physics of Language
Models: Part 4.1"); what has a state of constant size must keep all edges in it. Long chains alone are hard
to learn; a mixture with short ones, as here, is a curriculum in itself.

The dial is `hops`; at 1, the control, it is recall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import ge

from resnetbk.kinds import Text
from resnetbk_plugins.corpus.examples import Examples, check_task, drawn_text, without_replacement

if TYPE_CHECKING:
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class PointerChase:
    """A first token, the pairs, then for each query three tokens: the number of hops, the name to begin at,
    where the answer is asked, and the answer. data.window must be 1 + 2 pairs + 3 queries. Accuracy also
    comes by hops.

    hops      the most of a query, which has from 1 to so many with equal chances: the dial
    pairs     names in the cycle
    names     from which those of an example are drawn; names + hops at most 255
    queries   in each example; no two begin at the same name if they are no more than pairs: otherwise, with
              `alike` above all, answers can be copied from those before, a shortcut that many models end in
    alike     whether all queries of an example have as many hops, so that a data selector can choose
              by hops: `selector = "bandit"` or "baby-steps"
    examples  to train on
    held_out  held-out examples
    seed      of all examples
    """

    hops: int = attrs.field(default=2, validator=ge(1))
    pairs: int = attrs.field(default=6, validator=ge(2))
    names: int = attrs.field(default=12, validator=ge(2))
    queries: int = attrs.field(default=8, validator=ge(1))
    alike: bool = False
    examples: int = attrs.field(default=100_000, validator=ge(1))
    held_out: int = attrs.field(default=500, validator=ge(1))
    seed: int = attrs.field(default=0, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if self.pairs > self.names:
            raise ValueError(f"pairs = {self.pairs} need as many names, not {self.names}")
        if self.names + self.hops > 255:
            raise ValueError(f"names + hops = {self.names + self.hops} must be at most 255: tokens are bytes")

    @property
    def length(self) -> int:
        """Tokens of an example."""
        return 1 + 2 * self.pairs + 3 * self.queries

    def check(self, spec: Spec) -> None:
        check_task(spec, self.length)

    def build(self) -> Text:
        """Tokens: names from 0, then numbers of hops, then the first token of every example."""
        groups = [f"hops {k + 1}" for k in range(self.hops)]
        return drawn_text(self.seed, (self.examples, self.held_out), self._draw, groups=groups)

    def _draw(self, generator: np.random.Generator, count: int) -> Examples:
        pairs, queries = self.pairs, self.queries
        cycle = without_replacement(generator, np.ones(self.names), count, pairs)
        edges = without_replacement(generator, np.ones(pairs), count, pairs)
        if queries > pairs:
            starts = generator.integers(pairs, size=(count, queries))
        else:
            starts = without_replacement(generator, np.ones(pairs), count, queries)
        hops = 1 + generator.integers(self.hops, size=(count, 1 if self.alike else queries))
        hops = np.broadcast_to(hops, (count, queries))
        tokens, labels, groups = np.zeros((3, count, self.length), np.uint16)
        tokens[:, 0] = self.names + self.hops
        first = 1 + 2 * pairs
        tokens[:, 1:first:2] = np.take_along_axis(cycle, edges, 1)
        tokens[:, 2:first:2] = np.take_along_axis(cycle, (edges + 1) % pairs, 1)
        tokens[:, first::3] = self.names + hops - 1
        tokens[:, first + 1 :: 3] = np.take_along_axis(cycle, starts, 1)
        tokens[:, first + 2 :: 3] = np.take_along_axis(cycle, (starts + hops) % pairs, 1)
        labels[:, first + 1 :: 3] = 1 + tokens[:, first + 2 :: 3]
        groups[:, first + 1 :: 3] = hops - 1
        return Examples(tokens, labels, groups)
