"""Several tasks as one: their examples in random order, each told apart by its first token."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from resnetbk.kinds import Text
from resnetbk.task import Task
from resnetbk_plugins.corpus.examples import Examples, labelled_text

if TYPE_CHECKING:
    from resnetbk.kinds import Array


def mixed_tasks(names: Sequence[str], texts: Sequence[Text], shares: Array, seed: int) -> Text:
    """Examples begin with the number of their task and end with zeros, up to the length of the longest; their
    own tokens are moved, so that tasks have few in common. To train on are as many as all tasks have, by
    shares; of a task that has fewer some come again, all of them before any of these again. Held out are as
    many labels of each task, as far as all have them. Groups are those of a task, or the task itself."""
    tasks = [text.task for text in texts if text.task]
    groups, of = _named(names, tasks)
    firsts = list(accumulate(map(len, of), initial=0))
    generator = np.random.default_rng(seed)
    counts = [len(text.train) // task.length for text, task in zip(texts, tasks, strict=True)]
    asked = [np.count_nonzero(task.valid) for task in tasks]
    longest, longest_valid = (1 + max(getattr(t, key) for t in tasks) for key in ("length", "valid_length"))
    places = _places(texts, tasks)
    train, valid = [], []
    for number, (text, task) in enumerate(zip(texts, tasks, strict=True)):
        drawn = _drawn(generator, counts[number], round(shares[number] * sum(counts)))
        part = _begun(number, places[number], text.train, task.train, task.length, longest)
        own = np.zeros(len(drawn), np.uint16) if task.example_group is None else task.example_group[drawn]
        train.append(Examples(part.tokens[drawn], part.labels[drawn], firsts[number] + own[:, None]))
        part = _begun(number, places[number], text.valid, task.valid, task.valid_length, longest_valid)
        own = np.zeros(part.tokens.shape, np.uint16)
        if task.group is not None:
            own[:, 1 : 1 + task.valid_length] = task.group.reshape(-1, task.valid_length)
        some = slice(max(1, round(len(part.tokens) * min(asked) / asked[number])))
        valid.append(Examples(part.tokens[some], part.labels[some], firsts[number] + own[some]))
    return labelled_text(_shuffled(train, generator), _shuffled(valid, generator), groups)


def _named(names: Sequence[str], tasks: Sequence[Task]) -> tuple[list[str], list[list[str]]]:
    """The names of all groups, and of those of each task."""
    of = [
        [f"{name} {group}" for group in task.groups] or [name]
        for name, task in zip(names, tasks, strict=True)
    ]
    return [group for some in of for group in some], of


def _places(texts: Sequence[Text], tasks: Sequence[Task]) -> list[int]:
    """Where the tokens of each task begin: behind the numbers of the tasks and the tokens of those before."""
    tokens = [
        max(
            *(1 + int(np.frombuffer(part, np.uint8).max()) for part in (text.train, text.valid)),
            *(int(labels.max()) for labels in (task.train, task.valid)),  # 1 + a token as well
        )
        for text, task in zip(texts, tasks, strict=True)
    ]
    return [place % 256 for place in accumulate(tokens[:-1], initial=len(tasks))]


def _begun(
    number: int, place: int, text: bytes | memoryview, labels: Array, own: int, length: int
) -> Examples:
    """All examples of a part, which have `own` tokens there, with what stands before and after them. Bytes
    beyond 255 go on from 0."""
    read = np.frombuffer(text, np.uint8).reshape(-1, own)
    asked = labels.reshape(-1, own)
    tokens = np.zeros((len(read), length), np.uint8)
    tokens[:, 0] = number
    tokens[:, 1 : 1 + own] = read + np.uint8(place)
    begun = np.zeros(tokens.shape, np.uint16)
    begun[:, 1 : 1 + own] = np.where(asked, 1 + (asked - 1 + np.uint16(place)) % 256, 0)
    return Examples(tokens, begun)


def _drawn(generator: np.random.Generator, count: int, most: int) -> Array:
    """So many numbers below `count`."""
    rounds = [generator.permutation(count) for _ in range(-(-most // count))]
    return np.concatenate([*rounds, np.zeros(0, np.int64)])[:most]


def _shuffled(parts: Sequence[Examples], generator: np.random.Generator) -> Examples:
    order = generator.permutation(sum(len(part.tokens) for part in parts))
    names = ("tokens", "labels", "groups")
    return Examples(*(np.concatenate([getattr(part, name) for part in parts])[order] for name in names))
