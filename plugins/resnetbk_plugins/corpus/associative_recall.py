"""Corpus `associative-recall`: values of keys that an example gave before, which demands exact memory.

Multi-query associative recall (MQAR: Arora et al. 2023, "Zoology", arXiv:2312.04927): an example begins
with pairs of a key and its value, all different; after them each key comes once more, at a gap that follows
a power law, and there its value is to be answered. Attention solves it at any length; what has a state of
constant size needs one that grows with the pairs. So this is a guard: a mixer without attention must be
expected to fail on many pairs, and says so here first.

The dial is `pairs`; with 1, the control, there is one answer alone to remember.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, le

from resnetbk.kinds import Text
from resnetbk_plugins.corpus.examples import Examples, check_task, drawn_text, without_replacement

if TYPE_CHECKING:
    from resnetbk.spec import Spec

POWER = 0.01
"""Gaps x have chances proportional to x^(POWER - 1), as in Zoology."""


@attrs.frozen(kw_only=True)
class AssociativeRecall:
    """Pairs of key and value, then zeros with each key once among them, labelled with its value. Keys are
    tokens from 1, values those from vocabulary / 2 on. data.window must be `length`.

    pairs       of key and value: the dial; at most a quarter of `length`
    length      tokens of an example
    vocabulary  of keys and values, half each; with more than 128 the text is not UTF-8, which matters nowhere
    examples    to train on
    held_out    held-out examples
    seed        of all examples
    """

    pairs: int = attrs.field(default=4, validator=ge(1))
    length: int = attrs.field(default=64, validator=ge(4))
    vocabulary: int = attrs.field(default=128, validator=and_(ge(4), le(256)))
    examples: int = attrs.field(default=100_000, validator=ge(1))
    held_out: int = attrs.field(default=1000, validator=ge(1))
    seed: int = attrs.field(default=0, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if 4 * self.pairs > self.length:
            raise ValueError(f"pairs = {self.pairs} need length = {4 * self.pairs} or more")
        if self.pairs >= self.vocabulary // 2:
            raise ValueError(f"pairs = {self.pairs} need vocabulary = {2 * self.pairs + 2} or more")

    def check(self, spec: Spec) -> None:
        check_task(spec, self.length)

    def build(self) -> Text:
        return drawn_text(self.seed, (self.examples, self.held_out), self._draw)

    def _draw(self, generator: np.random.Generator, count: int) -> Examples:
        half, pairs = self.vocabulary // 2, self.pairs
        keys = 1 + without_replacement(generator, np.ones(half - 1), count, pairs)
        values = half + without_replacement(generator, np.ones(half), count, pairs)
        space = (self.length - 2 * pairs) // 2  # a query may be at every second place
        gaps = without_replacement(generator, np.arange(1, space + 1) ** (POWER - 1), count, pairs)
        tokens, labels = np.zeros((2, count, self.length), np.uint16)
        tokens[:, 0 : 2 * pairs : 2], tokens[:, 1 : 2 * pairs : 2] = keys, values
        np.put_along_axis(tokens, 2 * pairs + 2 * gaps, keys.astype(np.uint16), 1)
        np.put_along_axis(labels, 2 * pairs + 2 * gaps, 1 + values.astype(np.uint16), 1)
        return Examples(tokens, labels)
