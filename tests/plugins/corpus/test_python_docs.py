"""The corpus `python-docs`: its content, what is held out, and errors for a broken Python."""

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig
from pathlib import Path

import pytest

from resnetbk.errors import StorageError, UserError
from resnetbk.kinds import Text
from resnetbk_plugins.corpus import python_docs
from resnetbk_plugins.corpus.python_docs import (
    HELD_OUT,
    Entry,
    PythonDocs,
    choose_held_out,
    without_repeats,
)


@pytest.fixture(scope="module")
def text() -> Text:
    return PythonDocs().build()


def test_it_is_a_few_megabytes_of_utf8(text: Text) -> None:
    assert text.sha256 == hashlib.sha256(text.train + text.valid).hexdigest()
    assert 1_000_000 < len(text.train) < 5_000_000
    assert 0.5 * HELD_OUT < len(text.valid) <= HELD_OUT
    for part in (text.train, text.valid):
        assert set(map(ord, part.decode("utf-8"))).isdisjoint({0, 9, 13})


def test_it_reads_as_documentation(text: Text) -> None:
    both = (text.train + text.valid).decode()
    assert "heapq\n=====\n\nHeap queue algorithm" in both
    assert "\n\ncleandoc(doc)\n    Clean up indentation from docstrings.\n" in both
    assert 'The "assert" statement\n**********************\n' in both
    assert "\nidlelib" not in both
    assert "\ntest.support" not in both


def test_nothing_was_imported(text: Text) -> None:
    assert text
    assert not {"antigravity", "this", "turtle", "pydoc_data.topics"} & set(sys.modules)


def test_the_held_out_part_hardly_stands_in_the_training_part(text: Text) -> None:
    def paragraphs(part: bytes) -> set[str]:
        return {p.strip() for p in re.split(r"\n\s*\n", part.decode()) if len(p) > 100}

    held_out = paragraphs(text.valid)
    shared = held_out & paragraphs(text.train)
    assert sum(map(len, shared)) < 0.02 * sum(map(len, held_out))


def test_held_out_documents_are_whole_fixed_and_within_the_budget() -> None:
    sizes = {f"module{i}": 100 + i for i in range(200)}
    chosen = choose_held_out(sizes, 2000)
    assert 1800 < sum(sizes[name] for name in chosen) <= 2000
    assert choose_held_out(dict(reversed(sizes.items())), 2000) == chosen
    assert len({int(name[6:]) // 50 for name in chosen}) > 1  # not one run of neighbours
    assert choose_held_out({"big": 10}, 9) == set()


def test_repeats_go_and_the_larger_document_keeps_them() -> None:
    shared = "The same long paragraph."
    documents = {
        "a": [Entry("f()", shared), Entry("g()", f"{shared}\n\nFar more text of its own than is shared.")],
        "big": [Entry("", f"{shared}\n\n" + "word " * 50)],
    }
    unique = without_repeats(documents)
    assert unique["big"] == documents["big"]
    assert unique["a"] == documents["a"][1:]
    assert "a" not in without_repeats({"a": [Entry("f()", shared)], "b": [Entry("", shared + "\n\nx")]})


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "json" / "tests").mkdir(parents=True)
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "json" / "__init__.py").write_text(
        '"""Top."""\n'
        "class A:\n"
        "    def f(self, *, x: int = 0):\n"
        '        """  Does.\n\n'
        "        - this\n"
        '            and more\n        """\n'
    )
    for other in ("json/tests/x.py", "site-packages/y.py", "mine.py", "json/no-module.py"):
        (tmp_path / other).write_text('"""Not of the library."""\n')
    return tmp_path


def test_only_modules_of_the_library_are_read(library: Path) -> None:
    assert dict(python_docs._documents(library)) == {
        "json": [Entry("", "Top."), Entry("A.f(self, *, x: int=0)", "Does.\n\n- this\n    and more")]
    }


def test_chapters_are_read_in_either_form_of_assignment(library: Path) -> None:
    topics = library / "pydoc_data" / "topics.py"
    topics.parent.mkdir()
    for form in (
        "topics = {'if': 'The if\\n' 'statement'}",
        "topics: dict[str, str] = {'if': 'The if\\nstatement'}",
    ):
        topics.write_text(form)
        assert dict(python_docs._documents(library))["topics/if"] == [Entry("", "The if\nstatement")]
    topics.write_text("topics = {'if': open('x')}")
    with pytest.raises(StorageError, match="not the dictionary of chapters"):
        dict(python_docs._documents(library))


def test_a_python_without_sources_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "python311.zip"):
        monkeypatch.setattr(sysconfig, "get_path", lambda name, place=place: str(place))
        with pytest.raises(UserError, match=re.escape(f"not (all) in {place}; install them")):
            PythonDocs().build()


def test_a_damaged_source_is_named(library: Path) -> None:
    (library / "abc.py").write_text("def (:\n")
    with pytest.raises(StorageError, match=r"cannot read .*abc\.py: invalid syntax"):
        dict(python_docs._documents(library))


def test_the_text_is_remembered_until_a_source_changes(monkeypatch, tmp_path):
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    library = tmp_path / "library"
    library.mkdir()
    (library / "ast.py").write_text('"""First."""\n', encoding="utf-8")
    parsed = []
    monkeypatch.setattr(python_docs, "parts", lambda root: parsed.append(root) or (b"learn\n", b"held"))
    for _ in range(2):
        assert python_docs._remembered(library) == (b"learn\n", b"held")
    assert len(parsed) == 1
    (library / "ast.py").write_text('"""Another."""\n', encoding="utf-8")
    assert python_docs._remembered(library) == (b"learn\n", b"held")
    assert len(parsed) == 2
    for stored in (tmp_path / "cache" / "texts").glob("python-docs-*[0-9a-f]"):
        stored.write_bytes(b"damaged")
    assert python_docs._remembered(library) == (b"learn\n", b"held")


def test_without_a_cache_the_text_is_only_slower(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(python_docs, "parts", lambda root: (b"learn", b"held"))
    assert python_docs._remembered(tmp_path) == (b"learn", b"held")
