"""What components promise each other: the capabilities, and the check of one choice of components."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnetbk.registry.entry import Entry

CAPABILITIES: dict[str, str] = {
    "causal": "what it makes of position i depends on positions <= i alone, bit for bit where the number of "
    "rows computed does not depend on the text, else but for the rounding of matrix products",
    "bidirectional": "what it makes of a position may depend on every position of the window",
    "streaming": "a step on one row with carried state gives the numbers of a pass over the whole window",
    "any-length": "works at lengths it was not built or trained for",
    "deterministic": "the same seed, step and state give the same choice",
    "ragged": "packed rows of different lengths (`Rows.length`) come out as if each were alone",
    "multi-resolution": "some layers have fewer rows than there are tokens",
    "labels": "its text is a task: some of the positions have labels, and these alone are learned",
    "byte-level": "token t stands for the byte t of the text's UTF-8",
    "data-parallel": "gradients of shares average to that of the batch, and equal shares take equal passes",
}
"""The values of `provides`, `requires` and `conflicts`, and what each promises. All can be tested."""


def breaches(parts: Mapping[str, Entry], goal: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with choosing `parts` (spec key -> component) for `goal` (capability -> why it is
    needed), as (spec key, message).

    Every part of the model provides every capability of the goal. One that any part requires is provided by
    all other parts of the model, and one that it conflicts with by none of them.
    """
    model = {key: entry for key, entry in parts.items() if key.startswith("model.")}
    mistakes = [
        (key, f"{entry.name} does not provide {capability!r}: {goal[capability]}")
        for key, entry in model.items()
        for capability in sorted(goal.keys() - entry.provides)
    ]
    for (key, entry), (other_key, other) in product(parts.items(), model.items()):
        if other_key == key:
            continue
        which = f"which {other_key} = {other.name}"
        for capability in sorted(entry.requires - other.provides):
            mistakes.append((key, f"{entry.name} requires {capability!r}, {which} does not provide"))
        for capability in sorted(entry.conflicts & other.provides):
            meaning = f"{capability!r} ({CAPABILITIES[capability]})"
            mistakes.append((key, f"{entry.name} conflicts with {meaning}, {which} provides"))
    return mistakes
