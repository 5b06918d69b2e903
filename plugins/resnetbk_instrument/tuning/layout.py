"""A TOML text with other values in it: comments, order and spacing stay as somebody wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Table

from resnetbk.toml_write import inline


def edited(text: str, tree: Mapping[str, Any]) -> str:
    """`text` where it says other than `tree`, changed to that; new keys of its root come first."""
    document = tomlkit.parse(text)
    head = ""
    for key in [key for key in tree if key not in document]:
        if isinstance(tree[key], Mapping):
            document[key] = tomlkit.table()
        else:
            head += f"{key} = {inline(tree[key])}\n"
    _edit(document, {key: value for key, value in tree.items() if key in document})
    return f"{head}\n{document.as_string()}" if head else document.as_string()


def _edit(table: Any, tree: Mapping[str, Any]) -> None:
    for key in [key for key in table if key not in tree]:
        del table[key]
    for key, value in tree.items():
        old = table.get(key)
        if old == value:
            continue
        in_place = isinstance(old, Mapping) and isinstance(value, Mapping)
        if in_place and not (isinstance(old, InlineTable) and old.keys() != value.keys()):
            _edit(old, value)
        else:
            _set(table, key, value)


def _set(table: Any, key: str, value: Any) -> None:
    """A new key goes behind the last one, before the comments that lead to the next table."""
    body = table.value.body if isinstance(table, Table) and key not in table else []
    behind = []
    while body and body[-1][0] is None:
        behind.append(body.pop())
    table[key] = tomlkit.value(inline(value))
    body += reversed(behind)
