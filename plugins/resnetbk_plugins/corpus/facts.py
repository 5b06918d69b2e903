"""Corpus `facts`: random records to be remembered, which demand parameters and not computation.

A fact is a subject of two tokens, a relation and a value, all random; after the relation the value is
asked. A network stores about two bits in each of its parameters after a thousand exposures of every fact,
one bit after a hundred (Allen-Zhu and Li 2024, "Physics of Language Models: Part 3.3", arXiv:2404.05405). A
table that is read at a few rows, as a mixture of experts or hashed n-grams, holds more facts at the same
cost of a token.

The dial is `facts`; with few, the control, any model holds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, le

from resnetbk.kinds import Text
from resnetbk_plugins.corpus.examples import TRAIN, VALID, Examples, check_task, labelled_text

if TYPE_CHECKING:
    from resnetbk.kinds import Array
    from resnetbk.spec import Spec

FACTS, RELATIONS = 2, 8
"""Where the draws of facts are, beside those of the parts; and tokens that a relation is one of."""


@attrs.frozen(kw_only=True)
class Facts:
    """Facts in random order, all of them before one comes again, packed into examples. Held-out examples are
    of the same facts in another order: accuracy is the share of facts that are known. data.window must be
    4 records.

    facts     how many: the dial; at most 8 symbols^2
    symbols   tokens that each half of a subject, and a value, is one of; with more than 128 the text is not
              UTF-8, which matters nowhere
    records   facts in an example
    examples  to train on: each fact is seen about examples * records / facts times
    held_out  held-out examples
    seed      of facts and their order
    """

    facts: int = attrs.field(default=5000, validator=ge(1))
    symbols: int = attrs.field(default=128, validator=and_(ge(8), le(256)))
    records: int = attrs.field(default=32, validator=ge(1))
    examples: int = attrs.field(default=20_000, validator=ge(1))
    held_out: int = attrs.field(default=150, validator=ge(1))
    seed: int = attrs.field(default=0, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if self.facts > RELATIONS * self.symbols**2:
            raise ValueError(f"facts = {self.facts} must be at most {RELATIONS * self.symbols**2}")

    @property
    def length(self) -> int:
        """Tokens of an example."""
        return 4 * self.records

    def check(self, spec: Spec) -> None:
        check_task(spec, self.length)

    def build(self) -> Text:
        generator = np.random.default_rng((self.seed, FACTS))
        subject = generator.choice(RELATIONS * self.symbols**2, self.facts, replace=False)
        value = generator.integers(self.symbols, size=self.facts)
        rest, relation = np.divmod(subject, RELATIONS)
        table = np.stack([rest // self.symbols, rest % self.symbols, relation, value], 1).astype(np.uint16)
        return labelled_text(self._part(table, TRAIN, self.examples), self._part(table, VALID, self.held_out))

    def _part(self, table: Array, part: int, count: int) -> Examples:
        passes = -(-count * self.records // self.facts)
        orders = [np.random.default_rng((self.seed, part, i)).permutation(self.facts) for i in range(passes)]
        records = table[np.concatenate(orders)[: count * self.records]]
        labels = np.zeros_like(records)
        labels[:, 2] = 1 + records[:, 3]
        return Examples(records.reshape(count, -1), labels.reshape(count, -1))
