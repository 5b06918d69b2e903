"""How two trees differ, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from resnetbk import toml_write

NOTHING = object()
"""In a Change: the key is not there."""


@attrs.frozen
class Change:
    """A key with another value before and after."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.before)} -> {shown(self.after)}"


def shown(value: Any) -> str:
    """A value of a tree as TOML writes it, or `nothing`."""
    if value is NOTHING:
        return "nothing"
    try:
        return toml_write.inline(value)
    except TypeError:  # a date, which no spec has, in a lock that was edited
        return str(value)


def changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """How tree `b` differs from `a`, one a key."""
    before, after = dict(_leaves(a)), dict(_leaves(b))
    return [
        Change(key, before.get(key, NOTHING), after.get(key, NOTHING))
        for key in dict.fromkeys([*before, *after])
        if key not in before or key not in after or before[key] != after[key]
    ]


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """`changes`, one line each: `model.width: 128 -> 256`."""
    return [str(change) for change in changes(a, b)]


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for i, item in enumerate(value):
                yield from _leaves(item, f"{above}{key}[{i}].")
        else:
            yield f"{above}{key}", value
