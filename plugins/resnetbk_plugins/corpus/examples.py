"""What tasks share: examples drawn from a seed, as a text with labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from resnetbk.errors import UserError
from resnetbk.kinds import Text
from resnetbk.task import Task

if TYPE_CHECKING:
    from resnetbk.kinds import Array
    from resnetbk.spec import Spec

BLOCK = 1024
"""Examples that are drawn together: example i depends on seed, part and i alone."""

TRAIN, VALID = 0, 1
"""The parts of a task, of which each has its own draws."""


@attrs.frozen(eq=False)
class Examples:
    """(count, length) each: tokens below 256; labels, 0 for none, else 1 + the token to answer; and of labels
    their groups, by places among names, or None."""

    tokens: Array
    labels: Array
    groups: Array | None = None


Draw = Callable[[np.random.Generator, int], Examples]
"""Makes as many examples as it is told, from a generator."""


def drawn_text(
    seed: int, counts: tuple[int, int], draw: Draw, held_out: Draw | None = None, groups: Sequence[str] = ()
) -> Text:
    """A corpus of `counts` examples to train on and held out, which `draw` makes; or `held_out` the latter.
    `groups` are the names of groups of labels."""
    train = _drawn(seed, TRAIN, counts[0], draw)
    return labelled_text(train, _drawn(seed, VALID, counts[1], held_out or draw), groups)


def _drawn(seed: int, part: int, count: int, draw: Draw) -> Examples:
    """The first `count` examples of a part."""
    blocks = [draw(np.random.default_rng((seed, part, i)), BLOCK) for i in range(-(-count // BLOCK))]

    def joined(name: str) -> Array | None:
        arrays = [getattr(block, name) for block in blocks]
        return None if arrays[0] is None else np.concatenate(arrays)[:count]

    tokens, labels = joined("tokens"), joined("labels")
    assert tokens is not None
    assert labels is not None
    return Examples(tokens, labels, joined("groups"))


def without_replacement(generator: np.random.Generator, chances: Array, count: int, size: int) -> Array:
    """(count, size) int64: in each row different numbers below len(chances), drawn one after the other with
    chances proportional to these (Efraimidis and Spirakis 2006: in the order of exponential clocks)."""
    clocks = generator.standard_exponential((count, len(chances))) / chances
    return clocks.argsort(1)[:, :size]


def labelled_text(train: Examples, valid: Examples, groups: Sequence[str] = ()) -> Text:
    """A corpus of these examples; `groups` are the names of groups of labels. An example to train on is in
    the last group of its labels."""
    parts = [examples.tokens.astype(np.uint8).tobytes() for examples in (train, valid)]
    task = Task(
        train=train.labels.astype(np.uint16).ravel(),
        valid=valid.labels.astype(np.uint16).ravel(),
        length=train.tokens.shape[1],
        valid_length=valid.tokens.shape[1],
        group=None if valid.groups is None else valid.groups.astype(np.uint16).ravel(),
        groups=tuple(groups),
        example_group=None if train.groups is None else train.groups.max(1),
    )
    return Text(parts[0], parts[1], hashlib.sha256(b"".join(parts)).hexdigest(), task)


def check_task(spec: Spec, length: int, *, whole: bool = True) -> None:
    """Raises UserError for tokens that are no bytes, and for windows that do not fit a task's examples:
    shorter ones do unless examples are to be `whole`."""
    wrong = []
    tokenizer, window = spec.data.tokenizer, spec.data.window
    if "byte-level" not in tokenizer.entry.provides:
        wrong.append(f"labels bytes, and data.tokenizer = {tokenizer.name!r} has other tokens; use bytes")
    if window > length or (whole and window < length):
        fits = f"data.window = {length}{'' if whole else ' or less'}"
        wrong.append(f"has examples of {length} tokens, which need {fits}, not {window}")
    if wrong:
        raise UserError(*wrong)
