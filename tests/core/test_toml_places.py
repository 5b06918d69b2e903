"""Places of keys, against tomllib as the judge of what a text holds."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetbk.errors import UserError
from resnetbk.toml_places import DEEPEST, LARGEST, load, parse, places


def flattened(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """All paths of a parsed document."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        items = ()
    return ({path} if path else set()).union(*(flattened(item, (*path, key)) for key, item in items))


def agree(text: str) -> None:
    try:
        tree = tomllib.loads(text)
    except ValueError:
        return
    assert set(places(text)) == flattened(tree)


# ---------------------------------------------------------------- documents, drawn as text

keys = st.sampled_from(["a", "b", "c-1", '"a"', "'b'", '"x.y"', "'# ['", r'"q\"\u0041"', '""', "1_"])
dotted = st.lists(keys, min_size=1, max_size=3).map(" . ".join)
scalars = st.sampled_from(
    [
        *("1", "-0x1F", "3.5e-2", "inf", "true", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00", "07:32:00"),
        *('""', "''", '"# no ] } , comment"', "'\\'", r'"\" ] \\"', '"é = \\t"'),
        *('"""\n[x]\ny = 1 # """', '"""a""b"""', '""""a"""""', r'"""\""" """', '"""a\\\n  b"""', '""""""'),
        *("'''\n[[x]]\n'''", "'''it''s'''", "'''''x'''''", "''''''", "'''\\'''"),
    ]
)
gap = st.sampled_from(["", " ", "\n", "\t\n\n", " # ] , } '\n", "\r\n"])


def array(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.tuples(gap, values, gap).map("".join), max_size=4)
    return st.tuples(items, st.booleans(), gap).map(
        lambda drawn: f"[{','.join(drawn[0])}{',' if drawn[1] and drawn[0] else ''}{drawn[2]}]"
    )


def inline_table(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(dotted, values).map(" = ".join), max_size=3)
    return pairs.map(lambda drawn: f"{{ {' , '.join(drawn)} }}")


values = st.recursive(scalars, lambda inner: array(inner) | inline_table(inner), max_leaves=8)
statements = st.one_of(
    st.tuples(dotted, values).map(" = ".join),
    dotted.map("[ {} ]".format),
    dotted.map("[[{}]]".format),
    st.sampled_from(["", "# a = 1", "   \t"]),
)
line_ends = st.sampled_from(["\n", " # tail\n", "\r\n", "\n\n"])
documents = st.lists(st.tuples(statements, line_ends).map("".join), max_size=10).map("".join)


@settings(deadline=None)
@given(documents)
def test_paths_are_those_of_the_parsed_document(text: str) -> None:
    agree(text)


@settings(deadline=None)
@given(st.text(alphabet="ab.=[]{},'\"\\#\n 1", max_size=40))
def test_any_text_at_all_is_survived(text: str) -> None:
    places(text)
    agree(text)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "# c\n", "\r\n"]), values), max_size=8))
def test_each_line_is_where_the_key_was_written(pieces: list[tuple[str, str]]) -> None:
    text, lines = "", {}
    for i, (before, value) in enumerate(pieces):
        text += before
        lines[f"k{i}"] = text.count("\n") + 1
        text += f"k{i} = {value}\n"
    placed = places(text)
    assert {key: placed[(key,)] for key in lines} == lines


def test_every_sort_of_path() -> None:
    text = "\n".join(
        [
            "a.b = 1",  # 1
            'text = """',  # 2
            '[no.table]"""',  # 3
            "[t.sub]",  # 4
            "x = [1,",  # 5
            "  { y = 2, z.w = [3] },",  # 6
            "]",  # 7
            "[t]",  # 8
            "[[many]]",  # 9
            "n = 1",  # 10
            "[[many]]",  # 11
            "[many.inner]",  # 12
        ]
    )
    assert places(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("text",): 2,
        ("t",): 8,
        ("t", "sub"): 4,
        ("t", "sub", "x"): 5,
        ("t", "sub", "x", 0): 5,
        ("t", "sub", "x", 1): 6,
        ("t", "sub", "x", 1, "y"): 6,
        ("t", "sub", "x", 1, "z"): 6,
        ("t", "sub", "x", 1, "z", "w"): 6,
        ("t", "sub", "x", 1, "z", "w", 0): 6,
        ("many",): 9,
        ("many", 0): 9,
        ("many", 0, "n"): 10,
        ("many", 1): 11,
        ("many", 1, "inner"): 12,
    }


def test_the_deepest_path_and_one_deeper() -> None:
    fits = "\na = " + "[" * (DEEPEST - 1) + "1" + "]" * (DEEPEST - 1)
    assert len(max(places(fits), key=len)) == DEEPEST
    agree(fits)
    with pytest.raises(UserError, match=f"^f:2: nested deeper than {DEEPEST} levels$"):
        places("\na = " + "[" * DEEPEST + "1" + "]" * DEEPEST, "f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\na = " + "[" * 10_000 + "]" * 10_000, "f:2: nested deeper than 32 levels"),
        ("a = " + "{a=" * 10_000, "f:1: nested deeper than 32 levels"),
        ("\n\na" + ".a" * 100_000 + " = 1", "f:3: nested deeper than 32 levels"),
        ("[a" + ".a" * 100_000 + "]", "f:1: nested deeper than 32 levels"),
        ("\na = " + "1" * 5000, "f:2: a number with thousands of digits"),
        ("a = 1\nb = [\n 1,\n", "f:3: not valid TOML: Invalid value"),
        ("a = 1\nb 2", "f:2: not valid TOML: Expected '=' after a key in a key/value pair"),
        ("a = 1\nb = 2\na = 3", "f:3: not valid TOML: the key is there already"),
        ("a = 1\n\0", "f:2: not valid TOML: Invalid statement"),
        ('a = "\0"', r"f:1: not valid TOML: Illegal character '\x00'"),
        ('a = """' + '""\\"' * 1000, "f:1: not valid TOML: Unterminated string"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, "f")
    assert str(caught.value) == message


def refusal(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    (mistake,) = caught.value.mistakes
    assert "\n" not in str(mistake)
    return str(mistake)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    assert refusal(file) == f"{file}: cannot be read: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: is a folder"
    assert refusal("a\0b") == r"a\x00b: is no path"
    file.write_bytes(b"a = 1\n# \xff\n")
    assert refusal(file) == f"{file}:2: not UTF-8"
    file.write_bytes(b"#" * (LARGEST + 1))
    assert refusal(file) == f"{file}: is larger than 128 KiB"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refusal(pipe) == f"{pipe}: is not a regular file"


def test_a_file_from_elsewhere_is_read(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\r\n\r\nb = 2\r\n")
    assert load(file) == ({"a": 1, "b": 2}, {("a",): 1, ("b",): 3})
