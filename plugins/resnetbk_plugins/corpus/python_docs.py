"""The documentation that Python carries with it: a corpus on every machine, without a download.

Both parts are read as data, nothing is imported or run: the docstrings of the standard library (by `ast`)
and the chapters of the language reference behind `help()` (`pydoc_data/topics.py`). A document is one
module, with a heading for each class and function, or one chapter. A Python without the chapters gives the
docstrings alone.

The text depends on the Python version, so losses are comparable only under the same one; see `Text.sha256`.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import sys
import sysconfig
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError, UserError
from resnetbk.files import read_file
from resnetbk.kinds import Text

HELD_OUT = 128 * 1024
"""Bytes of whole documents held out: about 6 %, and a full validation stays quick on a CPU."""

_LEAST = 500_000
"""Fewer bytes than this mean that source files of the standard library are missing."""

# Tests and test data, programs rather than libraries, and tables; the chapters are read on their own.
_SKIPPED = frozenset({"encodings", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "turtledemo"})

_CHAPTER = "topics/"

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Entry:
    """The text under a heading, such as `Queue.get(self, block=True, timeout=None)`, or without one."""

    heading: str
    body: str


@attrs.frozen(kw_only=True)
class PythonDocs:
    """Docstrings of the standard library and the language reference: about 2 MB of English and examples."""

    def build(self) -> Text:
        """Raises UserError when this Python came without sources, StorageError when they are damaged."""
        root = Path(sysconfig.get_path("stdlib"))
        train, valid = _remembered(root)
        return Text(train, valid, hashlib.sha256(train + valid).hexdigest())


def _remembered(root: Path) -> tuple[bytes, bytes]:
    """`parts`, which parses hundreds of files for seconds, remembered as long as those and this file stay."""
    files = sorted([*(path for _, path in _sources(root)), root / "pydoc_data" / "topics.py", Path(__file__)])
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    key = hashlib.sha256(repr((sys.version, stats)).encode()).hexdigest()
    read: list[tuple[bytes, bytes]] = []

    def write(file: BinaryIO) -> None:
        read.append(parts(root))
        file.writelines((b"%d\n" % len(read[0][0]), *read[0]))

    try:
        size, _, text = read_file(cached_file(f"texts/python-docs-{key}", write)).partition(b"\n")
    except StorageError:  # of a cache that cannot be written, or of sources: then again
        return read[0] if read else parts(root)
    return text[: int(size)], text[int(size) :]


def parts(root: Path) -> tuple[bytes, bytes]:
    """What to learn from, and what is held out."""
    documents = without_repeats(dict(_documents(root)))
    written = {name: _write(name, entries) for name, entries in documents.items()}
    if sum(map(len, written.values())) < _LEAST:
        raise UserError(
            f"python-docs: the sources of Python's standard library are not (all) in {root}; "
            "install them, or use the corpus 'text' with files of your own"
        )
    held_out = choose_held_out({name: len(text) for name, text in written.items()}, HELD_OUT)
    train = b"".join(text for name, text in sorted(written.items()) if name not in held_out)
    valid = b"".join(text for name, text in sorted(written.items()) if name in held_out)
    return train, valid


def choose_held_out(sizes: dict[str, int], budget: int) -> set[str]:
    """Whole documents of at most `budget` bytes together, in the order of the sha256 of their names."""
    chosen: set[str] = set()
    for name in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if sizes[name] <= budget:
            budget -= sizes[name]
            chosen.add(name)
    return chosen


def without_repeats(documents: dict[str, list[Entry]]) -> dict[str, list[Entry]]:
    """Drops entries that mostly, by length, repeat earlier paragraphs, the largest document first.

    Otherwise held-out text would be in the training text too: chapters quote each other, as classes do.
    """
    seen: set[str] = set()
    unique: dict[str, list[Entry]] = {}
    for name in sorted(documents, key=lambda name: (-sum(len(e.body) for e in documents[name]), name)):
        for entry in documents[name]:
            paragraphs = re.split(r"\n\s*\n", entry.body)
            if 2 * sum(len(p) for p in paragraphs if p in seen) <= sum(map(len, paragraphs)):
                seen.update(paragraphs)
                unique.setdefault(name, []).append(entry)
    return unique


def _documents(root: Path) -> Iterator[tuple[str, list[Entry]]]:
    for name, path in _sources(root):
        entries = list(_entries("", _parse(path)))
        if entries:
            yield name, entries
    topics = root / "pydoc_data" / "topics.py"
    if topics.is_file():
        for name, chapter in _dictionary(topics).items():
            yield f"{_CHAPTER}{name}", [Entry("", chapter.strip())]


def _sources(root: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of the library's modules. Installed packages and build files are not among them."""
    for folder, folders, files in os.walk(root):
        known = sys.stdlib_module_names if Path(folder) == root else None
        folders[:] = [name for name in folders if _is_wanted(name, known)]
        for stem, extension in map(os.path.splitext, files):
            if extension == ".py" and _is_wanted(stem, known):
                path = Path(folder, stem + extension)
                yield ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"), path


def _is_wanted(name: str, known: frozenset[str] | None) -> bool:
    return name.isidentifier() and name not in _SKIPPED and (known is None or name in known)


def _dictionary(path: Path) -> dict[str, str]:
    """The chapters: the file is one assignment of a dictionary of strings."""
    values = [n.value for n in _parse(path).body if isinstance(n, (ast.Assign, ast.AnnAssign)) and n.value]
    try:
        return {str(name): str(chapter) for name, chapter in ast.literal_eval(values[-1]).items()}
    except (ValueError, IndexError, AttributeError) as error:
        raise StorageError(f"python-docs: {path} is not the dictionary of chapters it should be") from error


def _parse(path: Path) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in old sources
        try:
            return ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError) as error:
            raise StorageError(f"python-docs: cannot read {path}: {error}") from error


def _entries(name: str, node: _Documented) -> Iterator[Entry]:
    """The docstring of a module, class or function, dedented, then those of what is defined in it."""
    body = ast.get_docstring(node)
    if body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Entry(f"{name}({ast.unparse(node.args)})", body)
        else:
            yield Entry(name, body)
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _entries(f"{name}.{child.name}".lstrip("."), child)


def _write(name: str, entries: list[Entry]) -> bytes:
    """As `help()` lays it out: headings at the margin and the text under them indented. Chapters and the
    docstrings of modules have no heading; a chapter begins with its own title."""
    blocks = [] if name.startswith(_CHAPTER) else [f"{name}\n{'=' * len(name)}"]
    for entry in entries:
        under = f"{entry.heading}\n{textwrap.indent(entry.body, '    ')}"
        blocks.append(under if entry.heading else entry.body)
    # Docstrings may hold escapes of lone surrogates, which UTF-8 cannot.
    return ("\n\n".join(blocks) + "\n\n\n").encode("utf-8", "backslashreplace")
