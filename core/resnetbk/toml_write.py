"""A tree of tables, arrays, strings, numbers and booleans as TOML text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TO_ESCAPE = re.compile(r'[\x00-\x1f\x7f"\\]')


def dumps(tree: Mapping[str, Any], headers: int = 1) -> str:
    """`tree` as TOML that `tomllib` reads back equal, floats as floats.

    Tables down to depth `headers` get a `[header]`, deeper ones and those in arrays are inline. Within a
    table, values come before tables. Raises TypeError for what TOML does not have (None among it).
    """
    return "\n".join(_table((), tree, headers)) + "\n"


def _table(path: tuple[str, ...], tree: Mapping[str, Any], headers: int) -> list[str]:
    """The lines of the table at `path`, with a header unless it only holds tables."""
    below = {key: value for key, value in tree.items() if isinstance(value, Mapping) and len(path) < headers}
    lines = [f"{_key(key)} = {inline(value)}" for key, value in tree.items() if key not in below]
    if path and (lines or not below):
        lines.insert(0, f"[{'.'.join(map(_key, path))}]")
    for key, value in below.items():
        lines += [""] * bool(lines) + _table((*path, key), value, headers)
    return lines


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def inline(value: Any) -> str:
    """A value as it stands behind `key =`, in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {inline(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    raise TypeError(f"TOML has no {type(value).__name__}")


def _string(text: str) -> str:
    """A basic string. Control characters become `\\uXXXX`; quote and backslash get a backslash."""
    return '"' + _TO_ESCAPE.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    return "\\" + char if char in '"\\' else f"\\u{ord(char):04x}"
