"""TOML written, read back by tomllib."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetbk.toml_write import dumps, inline

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = texts | st.integers() | st.floats(allow_nan=False) | st.booleans()
trees = st.dictionaries(
    texts,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def typed(value: Any) -> Any:
    """`value` with types spelled out: 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value), value


@settings(deadline=None)
@given(trees, st.integers(0, 4))
def test_reads_back_equal(tree: dict[str, Any], headers: int) -> None:
    assert typed(tomllib.loads(dumps(tree, headers))) == typed(tree)


def test_looks_as_a_person_would_write_it() -> None:
    tree = {
        "model": {"mixer": {"use": "bk", "chains": 128}, "width": 64},
        "name": 'a "b"\n',
        "train": {"observe": ["x", {"use": "y"}], "clip": 1.0},
    }
    assert dumps(tree) == (
        r'name = "a \"b\"\n"' + "\n\n"
        '[model]\nmixer = { use = "bk", chains = 128 }\nwidth = 64\n\n'
        '[train]\nobserve = ["x", { use = "y" }]\nclip = 1.0\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-3, "0.001"),
        (2e-7, "2e-07"),
        (1.0, "1.0"),
        (True, "true"),
        ("\t\0\x1b\x7f\\", r'"\t\u0000\u001b\u007f\\"'),
        ((1, {"a b": []}), '[1, { "a b" = [] }]'),
        ({"a": {"b": {}}, "c": 2}, "{ a = { b = {} }, c = 2 }"),
    ],
)
def test_a_value_is_one_line(value: Any, text: str) -> None:
    assert inline(value) == text


def test_a_table_of_tables_needs_no_header() -> None:
    assert dumps({"a": {"b": {"c": 1}, "d": {}}}, headers=2) == "[a.b]\nc = 1\n\n[a.d]\n"


def test_what_toml_lacks_is_refused() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        dumps({"a": [None]})
