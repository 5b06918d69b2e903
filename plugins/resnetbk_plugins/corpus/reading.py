"""Files read as one UTF-8 text, and what looks wrong in them said in a line."""

from __future__ import annotations

import codecs
import functools
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import attrs

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError, UserError, printable
from resnetbk.texts import LARGE, PIECE, mapped

MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NULS = 0.1
"""The share of bytes from which on zeros are no text: half of UTF-16 is, in languages of Latin letters."""


@functools.cache
def warn(line: str) -> None:
    """Said once in a process, however often a corpus is built."""
    logging.getLogger("resnetbk").warning("%s", line)


def and_more(names: Sequence[str]) -> str:
    """`a.txt`, or `a.txt and 2 more`, in one line."""
    return printable(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


@attrs.define
class _Noticed:
    """The files in which something was seen that a model should hardly learn."""

    returns: list[str] = attrs.field(factory=list)
    json_lines: dict[str, str] = attrs.field(factory=dict)
    """And the field that seems to hold the text."""

    def say(self, corpus: str) -> None:
        if self.returns:
            warn(
                f"{corpus}: carriage returns (\\r, line ends of Windows) in {and_more(self.returns)}: the "
                "model learns them; `dos2unix` takes them out"
            )
        if self.json_lines:
            file, field = next(iter(self.json_lines.items()))
            warn(
                f"{corpus}: what looks like JSON lines in {and_more(list(self.json_lines))}: the model "
                f'learns them as they stand; corpus = {{ use = "text", path = "{file}", field = "{field}" }} '
                "reads the field"
            )


def read(
    corpus: str, files: Sequence[Path], names: Mapping[Path, str] | None = None, separator: bytes = b""
) -> tuple[bytes | memoryview, str]:
    """The text of the files, in memory or mapped when it is large, and its sha256; without the byte order
    mark that a file may begin with, and with `separator` after each of several. `names` are what files are
    called in messages, if not by their paths.

    Raises UserError for what is no UTF-8 text, StorageError for what cannot be read.
    """
    noticed = _Noticed()
    called = [(file, (names or {}).get(file, str(file))) for file in files]
    after = [separator] if len(files) > 1 else []
    read = (c for pair in called for c in chain(_chunks(corpus, *pair, len(files) > 1, noticed), after))
    try:
        size = sum(file.stat().st_size for file in files)
        if size <= LARGE:
            text: bytes | memoryview = b"".join(read)
            digest = hashlib.sha256(text).hexdigest()
        else:
            hashed = hashlib.sha256()
            for chunk in read:
                hashed.update(chunk)
            digest = hashed.hexdigest()
            text = _large(corpus, files, digest, separator)
    except OSError as error:
        raise StorageError(
            f"{corpus}: cannot read {printable(str(error.filename))}: {error.strerror}"
        ) from error
    noticed.say(corpus)
    return text, digest


def _large(corpus: str, files: Sequence[Path], digest: str, separator: bytes) -> memoryview:
    if len(files) == 1:
        text = mapped(files[0])
        return text[len(codecs.BOM_UTF8) :] if bytes(text[:3]) == codecs.BOM_UTF8 else text
    checked = ((*pair, True, _Noticed()) for pair in zip(files, map(str, files), strict=True))
    again = (c for one in checked for c in chain(_chunks(corpus, *one), [separator]))
    return mapped(cached_file(f"texts/{digest}", lambda joined: joined.writelines(again)))


def _chunks(corpus: str, file: Path, name: str, several: bool, noticed: _Noticed) -> Iterator[bytes]:
    """The content of a file, `PIECE` bytes at a time, checked to be text in UTF-8."""
    name = printable(name)
    decoder = codecs.getincrementaldecoder("utf-8")()
    leave_out = ", or leave it out: `patterns` names what to take from a folder" if several else ""
    before = nuls = returns = 0  # before: bytes of the file that are decoded
    with file.open("rb") as opened:
        while True:
            chunk = opened.read(PIECE)
            undecoded = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                known = "UTF-16" if not before and chunk.startswith(MARKS) else "LATIN1"
                raise UserError(
                    f"{corpus}: {name} is not UTF-8 at byte {before - undecoded + error.start}"
                    f"{_conversion(chunk, known)}{leave_out}"
                ) from error
            nuls += chunk.count(0)
            if nuls > NULS * (before + len(chunk)):
                coding = "UTF-16BE" if chunk[::2].count(0) > chunk[1::2].count(0) else "UTF-16LE"
                raise UserError(
                    f"{corpus}: {name} is full of zero bytes: binary, or UTF-16 without a mark"
                    f"{_conversion(b'', coding)}{leave_out}"
                )
            if not chunk:
                break
            returns += chunk.count(b"\r")
            if not before and (field := _json_field(chunk)):
                noticed.json_lines[name] = field
            yield chunk if before else chunk.removeprefix(codecs.BOM_UTF8)
            before += len(chunk)
    if returns:
        noticed.returns.append(name)


def _conversion(chunk: bytes, coding: str) -> str:
    """What to do about text in another coding; nothing where zero bytes show that it is binary."""
    if 0 in chunk and coding != "UTF-16":
        return " (it looks binary)"
    return f"; convert it, if it is text: iconv -f {coding} -t UTF-8"


def _json_field(start: bytes) -> str:
    """The field of JSON lines that holds the longest text, if most of the first lines are JSON objects."""
    lines = [line for line in start.removeprefix(codecs.BOM_UTF8).split(b"\n")[:20] if line.strip()]
    objects = [value for value in map(_parsed, lines) if isinstance(value, dict)]
    if len(objects) < 2 or 2 * len(objects) <= len(lines):
        return ""
    texts = {key: len(value) for key, value in objects[0].items() if isinstance(value, str)}
    return max(texts, key=texts.__getitem__, default="text")


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
