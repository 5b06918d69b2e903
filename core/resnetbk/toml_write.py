"""TOML written as a person would lay it out: headers for the large tables, all that is small in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tomlkit.items import Item


def dumps(tree: Mapping[str, Any], headers: int = 1) -> str:
    """`tree` as TOML. Tables down to depth `headers` get a `[header]`, deeper ones and those in arrays are
    inline. Within a table, values come before tables. Raises TypeError for what TOML does not have."""
    import tomlkit

    return tomlkit.dumps(_table(tree, headers))


def inline(value: Any) -> str:
    """A value as it is written behind `key =`, in one line."""
    return _item(value).as_string()


def _item(value: Any) -> Item:
    """`inline`, for a document of tomlkit."""
    import tomlkit

    if isinstance(value, (list, tuple)):
        array = tomlkit.array()
        array.extend(map(_item, value))
        return array
    if isinstance(value, Mapping) and value:
        table = tomlkit.inline_table().add(tomlkit.ws(" "))
        for key, below in value.items():
            table.append(key, _item(below))
        return table.add(tomlkit.ws(" "))
    return tomlkit.inline_table() if isinstance(value, Mapping) else tomlkit.item(value)


def _table(tree: Mapping[str, Any], headers: int) -> dict[str, Any]:
    below = {key: value for key, value in tree.items() if headers and isinstance(value, Mapping)}
    values = {key: _item(value) for key, value in tree.items() if key not in below}
    return values | {key: _table(value, headers - 1) for key, value in below.items()}
