"""Corpus `group-words`: the word problem of a finite group, which demands a state that lasts.

A word is a row of elements x_1 x_2 ... x_T, drawn uniformly; after each the running product x_1 ... x_i is
to be answered. Z2 is parity. One layer of a recurrence solves it if its state can follow the group. A5 and
S5 are not solvable: the problem is complete for NC1, and a transformer, or a recurrence with a diagonal
state and positive decays, needs more layers the longer the words (Merrill, Petty and Sabharwal 2024, "The
Illusion of State in State-Space Models", arXiv:2404.08819; Liu et al. 2023, arXiv:2210.10749; Grazzi et al.
2024, arXiv:2411.12537, on negative eigenvalues).

The dial is `length`; at 1 or 2, the control, no state is needed.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING, Literal

import attrs
import numpy as np
from attrs.validators import and_, ge, le, optional

from resnetbk.kinds import Text
from resnetbk_plugins.corpus.examples import Draw, Examples, check_task, drawn_text

if TYPE_CHECKING:
    from resnetbk.kinds import Array
    from resnetbk.spec import Spec

SHORTEST = 8
"""Positions of a word in the first group of accuracies; each next group has as many as all before it."""


@attrs.frozen(kw_only=True)
class GroupWords:
    """Words of a group, labelled with their running products. Element 0 is the identity, and tokens are the
    numbers of elements. data.window may be shorter than words: then training sees their beginnings.

    group         "Z2", parity; "S3", "S5", permutations of so many things; "A5", the even ones of five
    length        elements of a word to train on: the dial
    valid_length  elements of a held-out word; those of `length` if left out. `resnetbk eval RUN --set
                  data.corpus.valid_length=1024` measures a trained run on longer words
    examples      words to train on
    held_out      held-out words; short ones may be among those to train on
    seed          of all words
    """

    group: Literal["Z2", "S3", "A5", "S5"] = "S3"
    length: int = attrs.field(default=64, validator=and_(ge(1), le(65_536)))
    valid_length: int | None = attrs.field(default=None, validator=optional(and_(ge(1), le(65_536))))
    examples: int = attrs.field(default=100_000, validator=ge(1))
    held_out: int = attrs.field(default=500, validator=ge(1))
    seed: int = attrs.field(default=0, validator=ge(0))

    def check(self, spec: Spec) -> None:
        check_task(spec, self.length, whole=False)

    def build(self) -> Text:
        """Accuracies come by position in the word: 1 to 8, to 16, to 32, and so on."""
        table = products(self.group)
        valid_length = self.valid_length or self.length
        ends = [SHORTEST]
        while ends[-1] < valid_length:
            ends.append(2 * ends[-1])
        ends[-1] = valid_length

        def words(length: int) -> Draw:
            def draw(generator: np.random.Generator, count: int) -> Examples:
                tokens = generator.integers(len(table), size=(count, length), dtype=np.uint8)
                labels = np.empty((count, length), np.uint16)
                product = np.zeros(count, np.uint8)
                for i in range(length):
                    product = table[product, tokens[:, i]]
                    labels[:, i] = product + np.uint16(1)
                groups = np.searchsorted(ends, np.arange(1, length + 1))
                return Examples(tokens, labels, np.tile(groups, (count, 1)).astype(np.uint16))

            return draw

        starts = [1, *(end + 1 for end in ends)]
        names = [f"positions {first} to {last}" for first, last in zip(starts, ends, strict=False)]
        draws = words(self.length), words(valid_length)
        return drawn_text(self.seed, (self.examples, self.held_out), *draws, groups=names)


@cache
def products(group: str) -> Array:
    """(n, n) uint8: the number of a * b, which is a first and then b, of elements by their numbers. Elements
    of permutation groups are numbered in lexicographic order."""
    if group == "Z2":
        return np.array([[0, 1], [1, 0]], np.uint8)
    elements = [p for p in itertools.permutations(range(int(group[1]))) if group[0] == "S" or _even(p)]
    number = {element: i for i, element in enumerate(elements)}
    return np.array([[number[tuple(b[i] for i in a)] for b in elements] for a in elements], np.uint8)


def _even(permutation: tuple[int, ...]) -> bool:
    pairs = itertools.combinations(permutation, 2)
    return sum(a > b for a, b in pairs) % 2 == 0
