"""Golden files: each spec in `bad/` ends with the mistakes that it must be told of, as lines `#: ...`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resnetbk.errors import UserError
from resnetbk.registry import Registry
from resnetbk.spec import read, read_text

BAD = Path(__file__).parent / "bad"
LEAD = "#: "

GOOD = """
name = "x"
data = { corpus = "tiny" }
model = { width = 8, depth = 2, mixer = "chain" }
train = { steps = 1 }
"""


def mistakes(text: str, registry: Registry, sets: tuple[str, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        read_text(text, registry, "f", sets)
    assert all("\n" not in str(mistake) for mistake in caught.value.mistakes)
    return str(caught.value)


@pytest.mark.parametrize("file", sorted(path.name for path in BAD.glob("*.toml")))
def test_every_mistake_is_told_with_its_place(
    file: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BAD)
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    expected = [line.removeprefix(LEAD) for line in lines if line.startswith(LEAD)]
    with pytest.raises(UserError) as caught:
        read(file, registry)
    assert [str(mistake) for mistake in caught.value.mistakes] == expected


def test_a_file_is_named_as_it_was_given(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/b.toml").write_text(GOOD + "x = 1\n", encoding="utf-8")
    for name in ("a/b.toml", "./a/../a/b.toml", str(tmp_path / "a/b.toml")):
        with pytest.raises(UserError) as caught:
            read(name, registry)
        assert str(caught.value).startswith(f"{name}:6: unknown key 'x'")


HOSTILE = {
    "arrays": ("x = " + "[" * 10_000 + "]" * 10_000, "f:6: nested deeper than 32 levels"),
    "tables": ("x = " + "{ a = " * 10_000 + "1" + "}" * 10_000, "f:6: nested deeper than 32 levels"),
    "keys": ("x" + ".x" * 10_000 + " = 1", "f:6: nested deeper than 32 levels"),
    "number": ("seed = " + "1" * 5000, "f:6: a number with thousands of digits"),
    "hexadecimal": (
        "seed = 0x" + "f" * 100_000,
        "f:6: seed: expects an integer of 64 bits, found one of 400000 bits",
    ),
    "key with a line break": (
        '"a\\nb" = 1',
        r"f:6: unknown key 'a\nb'; allowed: data, model, name, seed, train",
    ),
    "long key": (
        "x" * 100_000 + " = 1",
        f"f:6: unknown key '{'x' * 59}'…; allowed: data, model, name, seed, train",
    ),
    "NUL": ("x = 1\0", r"f:6: not valid TOML: Expected newline or end of document after a statement"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_text_is_one_line(case: str, registry: Registry) -> None:
    text, expected = HOSTILE[case]
    assert mistakes(GOOD + text, registry) == expected


def test_hostile_numbers_of_mistakes_come_to_an_end(registry: Registry) -> None:
    many = ", ".join(["'nothing-of-that-name'"] * 8000)
    text = GOOD.replace("steps = 1", f"steps = 1, observe = [{many}]")
    text += "\n".join(f"steqs{i} = 1" for i in range(8000))
    lines = mistakes(text, registry).splitlines()
    assert len(lines) == 200


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "f.toml"
    cases = {file: "cannot be read: No such file or directory", tmp_path: "is a folder"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        cases[tmp_path / "pipe"] = "is not a regular file"
    for path, expected in cases.items():
        with pytest.raises(UserError) as caught:
            read(path, registry)
        assert str(caught.value) == f"{path}: {expected}"
    file.write_bytes(GOOD.encode() + b"# \xff\n")
    with pytest.raises(UserError) as caught:
        read(file, registry)
    assert str(caught.value) == f"{file}:6: not UTF-8"


def test_a_component_that_asks_for_what_cannot_be_resolved(registry: Registry) -> None:
    """A class whose annotations name what only a type checker imports."""
    text = GOOD.replace('"chain"', '{ use = "unresolved", x = 1 }')
    assert mistakes(text, registry) == (
        "f:4: model.mixer: made-up/unresolved: NameError: name 'Nowhere' is not defined"
    )
