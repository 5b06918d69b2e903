"""TOML with places: a parsed document, and the line on which each of its keys stands.

`tomllib` parses but forgets where things stood, so a small scanner walks the same text a second time.
It reads any TOML and more (it is not a validator), keeps its own stack, and takes linear time. It runs
before `tomllib`: what would exhaust that one's stack or memory is refused here.
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

_GAP = re.compile(r"(?:[ \t\n]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]++")
_ONE_LINE_STRING = re.compile(r""""(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'""")
_LONG_STRING = re.compile(r'''"""(?:[^"\\]++|\\[\s\S]|"(?!""))*+"{3,5}|\'\'\'[\s\S]*?'{3,5}''')
_PLAIN_SCALAR = re.compile(r"[^,\]}#\n]++")
_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_LONG_NUMBER = re.compile(r"[0-9_]{4300,}+")


class TooDeep(ValueError):
    """A path longer than `DEEPEST`; `line` says where."""

    def __init__(self, line: int) -> None:
        super().__init__(f"nested deeper than {DEEPEST} levels")
        self.line = line


class _Stuck(Exception):
    """The text is no TOML from here on."""


def places(text: str) -> Places:
    """The line of every path in `text`: tables, items of arrays of tables, dotted keys, keys of inline
    tables, elements of arrays. A table opened more than once stands where its own header is.

    Raises TooDeep. In a text that is no TOML, gives the places up to about the first fault.
    """
    scanner = _Scanner(text)
    with contextlib.suppress(_Stuck):
        scanner.document()
    return scanner.found


def load(path: pathlib.Path | str, file: str | None = None) -> tuple[dict[str, Any], Places]:
    """`parse` of the file at `path`, called `file` in messages. Raises UserError, in one line too, when it
    cannot be read, is no regular file, is larger than `LARGEST` or is not UTF-8."""
    file = printable(str(path) if file is None else file)
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
        found = places(text)
        return tomllib.loads(text), found
    except TooDeep as error:
        raise UserError(Mistake(f"{file}:{error.line}", str(error))) from None
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
    except RecursionError:
        raise UserError(Mistake(file, "nested too deep")) from None


class _Scanner:
    """One pass over a text; `found` fills as it goes."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.found: Places = {}
        self._items: dict[Path, int] = {}  # how many items each array of tables has so far
        self._line = 1
        self._counted = 0  # newlines before this position are in _line

    def document(self) -> None:
        table: Path = ()
        while True:
            self._skip(_GAP)
            if self.at == len(self.text):
                return
            if self._eat("[["):
                path = self._mark((), self._key())
                item = self._items.get(path, 0)
                self._items[path] = item + 1
                table = (*path, item)
                self.found[table] = self._line
                self._expect("]]")
            elif self._eat("["):
                table = self._mark((), self._key())
                self.found[table] = self._line
                self._expect("]")
            else:
                self._value(self._pair(table))

    def _pair(self, table: Path) -> Path:
        """Reads `key =` and gives the key's path."""
        path = self._mark(table, self._key())
        self._expect("=")
        self._skip(_SPACE)
        return path

    def _value(self, path: Path) -> None:
        """Reads the value at `path` and all that it holds."""
        containers: list[tuple[Path, int | None]] = []  # open ones: path, and an array's next index
        while True:
            if self._eat("["):
                containers.append((path, 0))
            elif self._eat("{"):
                containers.append((path, None))
            else:
                self._scalar()
            while containers:  # to the start of the next value
                self._skip(_GAP)
                if self._eat(","):
                    self._skip(_GAP)
                outer, index = containers.pop()
                if self._eat("}" if index is None else "]"):
                    continue
                if index is None:
                    containers.append((outer, None))
                    path = self._pair(outer)
                else:
                    containers.append((outer, index + 1))
                    path = self._mark(outer, [index])
                break
            else:
                return

    def _scalar(self) -> None:
        quoted = self.text.startswith(("'", '"'), self.at)
        for form in (_LONG_STRING, _ONE_LINE_STRING) if quoted else (_PLAIN_SCALAR,):
            if self._skip(form):
                return
        raise _Stuck

    def _key(self) -> list[str | int]:
        """Reads a key, dotted or not, and the space around it."""
        parts: list[str | int] = []
        while True:
            self._skip(_SPACE)
            start = self.at
            if self._skip(_BARE_KEY):
                parts.append(self.text[start : self.at])
            elif self._skip(_ONE_LINE_STRING):
                parts.append(self._unquoted(self.text[start : self.at]))
            else:
                raise _Stuck
            self._skip(_SPACE)
            if not self._eat("."):
                return parts

    def _unquoted(self, key: str) -> str:
        if key[0] == "'" or "\\" not in key:
            return key[1:-1]
        try:
            return str(tomllib.loads(f"key = {key}")["key"])
        except tomllib.TOMLDecodeError:
            raise _Stuck from None

    def _mark(self, path: Path, parts: Sequence[str | int]) -> Path:
        """The path of `parts` below `path`, each noted at the present line. On the way down, an array of
        tables stands for its last item."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        for i, part in enumerate(parts):
            if i and path in self._items:
                path = (*path, self._items[path] - 1)
            path = (*path, part)
            if len(path) > DEEPEST:
                raise TooDeep(self._line)
            self.found.setdefault(path, self._line)
        return path

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.at)
        if match is None:
            return False
        self.at = match.end()
        return True

    def _eat(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._eat(token):
            raise _Stuck
