"""TOML with places: a parsed document, and the line of each of its keys.

`tomllib` parses without positions, so a small scanner reads the same text before it, in linear time. It
accepts any TOML and more (it is not a validator), but refuses what would exhaust `tomllib`'s stack or memory.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import stat
import tomllib
from collections.abc import Sequence
from typing import Any

from resnetbk.errors import Mistake, UserError, printable

Path = tuple[str | int, ...]
"""A key's path from the root: strings for keys of tables, integers for elements of arrays."""

Places = dict[Path, int]
"""The 1-based line of each path."""

DEEPEST = 32
"""Longest path of a document. What people write by hand goes down five levels or so."""

LARGEST = 128 * 1024
"""Bytes of the largest file that is read; the worst text of that size takes most of a second."""

_GAP = r"(?:[ \t\n]++|#[^\n]*+)*+"
_STRING = r""""(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'"""
_LONG_STRING = r'''"""(?:[^"\\]++|\\[\s\S]|"(?!""))*+"{3,5}|\'\'\'[\s\S]*?'{3,5}'''

_BEFORE_STATEMENT = re.compile(_GAP)
_BEFORE_ITEM = re.compile(f"{_GAP},?{_GAP}")
_KEY = re.compile(rf"[ \t]*+([A-Za-z0-9_-]++|{_STRING})[ \t]*+")
_HEADER_END = re.compile(r"\]\]?")
_EQUALS = re.compile(r"=[ \t]*+")
_SCALAR = re.compile(rf"{_LONG_STRING}|{_STRING}|(?!['\"])[^,\]}}#\n]++")
_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_LONG_NUMBER = re.compile(r"[0-9_]{4300,}+")


def places(text: str, file: str = "") -> Places:
    """The line of every path in `text`: tables, items of arrays of tables, dotted keys, keys of inline
    tables, elements of arrays. A table opened more than once is placed at its own header.

    Raises UserError, placed in `file`, for a path longer than `DEEPEST`. In a text that is no TOML, gives the
    places up to about the first fault.
    """
    scanner = _Scanner(text, file)
    with contextlib.suppress(tomllib.TOMLDecodeError):
        scanner.document()
    return scanner.places


def load(path: pathlib.Path | str) -> tuple[dict[str, Any], Places]:
    """`parse` of the file at `path`. Raises UserError, in one line too, when it cannot be read, is no regular
    file, is larger than `LARGEST` or is not UTF-8."""
    file = printable(str(path))
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # a pipe would wait for ever
            what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise UserError(Mistake(file, f"is {what}"))
        with open(path, "rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise UserError(Mistake(file, f"cannot be read: {error.strerror or 'error'}")) from None
    except ValueError:  # a NUL in the path
        raise UserError(Mistake(file, "is no path")) from None
    if len(data) > LARGEST:
        raise UserError(Mistake(file, f"is larger than {LARGEST // 1024} KiB"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(Mistake(f"{file}:{line}", "not UTF-8")) from None
    return parse(text, file)


def parse(text: str, file: str) -> tuple[dict[str, Any], Places]:
    """The document and its places. Raises UserError, one line placed in `file` (a path as the user gave it),
    for a text that is no TOML, is nested too deep, or holds a number too long to read."""
    try:
        lines = places(text, file)
        return tomllib.loads(text), lines
    except tomllib.TOMLDecodeError as error:
        message = str(error).replace("Cannot overwrite a value", "the key is there already")
        at = _AT_LINE.search(message)
        if at is None:
            raise UserError(Mistake(file, f"not valid TOML: {message}")) from None
        line = int(at[1]) if at[1] else len(text.rstrip().split("\n"))
        raise UserError(Mistake(f"{file}:{line}", f"not valid TOML: {message[: at.start()]}")) from None
    except ValueError:
        # Python refuses to convert integers of more than 4300 digits; tomllib lets that through.
        long = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, long.start()) + 1 if long else 1
        raise UserError(Mistake(f"{file}:{line}", "a number with thousands of digits")) from None


class _Scanner:
    """One pass over a text; `places` fills as it goes. Raises TOMLDecodeError where the text is no TOML."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text.replace("\r\n", "\n"), file
        self.at = 0
        self.places: Places = {}
        self._last_item: dict[Path, int] = {}  # the index of the last item of each array of tables
        self._line = 1
        self._counted = 0  # newlines before this position are in _line

    def document(self) -> None:
        table: Path = ()
        while self._take(_BEFORE_STATEMENT) and self.at < len(self.text):
            if not self._eat("["):
                self._pair(table)
                continue
            of_array = self._eat("[")
            table = self._mark((), self._key())
            if of_array:
                item = self._last_item[table] = self._last_item.get(table, -1) + 1
                table = (*table, item)
            self.places[table] = self._line
            self._take(_HEADER_END)

    def _pair(self, table: Path) -> None:
        path = self._mark(table, self._key())
        self._take(_EQUALS)
        self._value(path)

    def _value(self, path: Path) -> None:
        """Reads the value at `path` and all that it holds; `DEEPEST` bounds the recursion."""
        if self._eat("{"):
            while self._take(_BEFORE_ITEM) and not self._eat("}"):
                self._pair(path)
        elif self._eat("["):
            index = 0
            while self._take(_BEFORE_ITEM) and not self._eat("]"):
                self._value(self._mark(path, [index]))
                index += 1
        else:
            self._take(_SCALAR)

    def _key(self) -> list[str | int]:
        """Reads a key, dotted or not, and the space around it."""
        parts: list[str | int] = []
        while not parts or self._eat("."):
            key = self._take(_KEY)[1]
            parts += tomllib.loads(f"{key} = 0") if key[0] in "'\"" else [key]
        return parts

    def _mark(self, path: Path, parts: Sequence[str | int]) -> Path:
        """The path of `parts` below `path`, placed at the present line. On the way down, an array of
        tables stands for its last item."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        for i, part in enumerate(parts):
            if i and path in self._last_item:
                path = (*path, self._last_item[path])
            path = (*path, part)
            if len(path) > DEEPEST:
                message = f"nested deeper than {DEEPEST} levels"
                raise UserError(Mistake(f"{self.file}:{self._line}", message))
            self.places.setdefault(path, self._line)
        return path

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise tomllib.TOMLDecodeError
        self.at = match.end()
        return match

    def _eat(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True
