"""Words of groups: their labels by composing permutations one after the other, and their groups."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from resnetbk_plugins.corpus.group_words import GroupWords, products

SIZES = {"Z2": 2, "S3": 6, "A5": 60, "S5": 120}


def permutations(group: str) -> list[tuple[int, ...]]:
    """Its elements in lexicographic order; even ones have cycles of an even number of transpositions."""
    if group == "Z2":
        return [(0, 1), (1, 0)]
    every = sorted(itertools.permutations(range(int(group[1]))))
    return [p for p in every if group[0] == "S" or (len(p) - cycles(p)) % 2 == 0]


def cycles(permutation: tuple[int, ...]) -> int:
    unseen, count = set(permutation), 0
    while unseen:
        at, count = unseen.pop(), count + 1
        while (at := permutation[at]) in unseen:
            unseen.remove(at)
    return count


@pytest.mark.parametrize("group", SIZES)
def test_labels_are_running_products(group: str) -> None:
    text = GroupWords(group=group, length=12, valid_length=20, examples=30, held_out=10).build()
    elements, task = permutations(group), text.task
    assert len(elements) == SIZES[group] == len(products(group))
    for part, length, labels in ((text.train, 12, task.train), (text.valid, 20, task.valid)):
        tokens = np.frombuffer(part, np.uint8)
        assert len(tokens) == len(labels)
        for start in range(0, len(tokens), length):
            product = tuple(range(len(elements[0])))
            for at in range(start, start + length):
                x = elements[tokens[at]]
                product = tuple(x[place] for place in product)
                assert labels[at] == 1 + elements.index(product)


def test_the_table_is_a_group_with_identity_0() -> None:
    table = products("A5").astype(int)
    every = np.arange(60)
    assert (table[0] == every).all()
    assert (table[:, 0] == every).all()
    assert (np.sort(table, 1) == every).all()
    assert (table[table[:, :, None], every] == table[every[:, None, None], table[None]]).all()


def test_groups_are_positions_that_double() -> None:
    task = GroupWords(length=4, valid_length=20, examples=2, held_out=3).build().task
    assert task.groups == ("positions 1 to 8", "positions 9 to 16", "positions 17 to 20")
    assert task.group.reshape(3, 20)[1].tolist() == [0] * 8 + [1] * 8 + [2] * 4
