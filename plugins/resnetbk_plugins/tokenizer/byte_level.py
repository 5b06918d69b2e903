"""Byte-level BPE as the library `tokenizers` runs it: any bytes in, the same bytes out, on all cores."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetbk.errors import StorageError, UserError, printable
from resnetbk.files import read_file
from resnetbk.texts import pieces

if TYPE_CHECKING:
    from resnetbk.kinds import Array

RUN = 256
"""Characters of one kind (letters and digits, spaces, others, or any of ASCII but spaces) after which a token
ends: what a longer word costs the library grows with the square of its length."""

SHARE = 16 << 10
"""Characters after which a piece may be cut, so that all cores have a part of it."""

_RUN = re.compile(rf"([!-~]{{{RUN}}}|\w{{{RUN}}}|(?:[^\w\s]|_){{{RUN}}}|\s{{{RUN}}})")
_BLANK = re.compile(rf"\s{{{RUN}}}")
_NOT_UTF8 = re.compile("([\udc80-\udcff]+)")  # what `surrogateescape` makes of bytes that are not UTF-8
_LINE_END = re.compile(r"(?<=\S)\n(?=\S)")  # no token reaches over it in the patterns of GPT-2 and later
_ASCII_SPACE = np.array([value < 128 and chr(value).isspace() for value in range(256)])
_HIGH = np.arange(256) >= 128


class ByteLevelTokenizer:
    """saved: the content of a tokenizer.json of `tokenizers`. ValueError if invalid or a byte is missing."""

    def __init__(self, saved: str) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(saved)
        except Exception as error:  # the library raises no narrower type
            raise ValueError(f"no tokenizer: {error}") from error
        self._saved = saved
        names = {token: name for name, token in self._tokenizer.get_vocab().items()}
        added = {token: each.content for token, each in self._tokenizer.get_added_tokens_decoder().items()}
        byte = {character: bytes([value]) for value, character in enumerate(byte_characters())}
        self.vocabulary: int = max(names, default=0) + 1
        self.added = list(added.values())
        self._bytes = [b""] * self.vocabulary  # of a number that no token has, nothing
        try:
            for token, name in names.items():
                content = added.get(token)
                self._bytes[token] = content.encode() if content else b"".join(byte[c] for c in name)
            of = {value: token for token, value in enumerate(self._bytes) if token not in added}
            self._token = {value: of[bytes([value])] for value in range(256)}
        except KeyError as error:
            raise ValueError("no tokenizer of all bytes") from error

    def encode(self, text: bytes | memoryview) -> Array:
        """(T,) uint16 for a vocabulary of up to 65536, uint8 for 256, else uint32. Any bytes: each
        byte that is not UTF-8 is a token. Nothing is merged across the borders of `pieces` and of `RUN`s."""
        dtype = np.min_scalar_type(self.vocabulary - 1)
        runs = [np.array(run, dtype) for piece in pieces(text) for run in self._piece(piece)]
        return np.concatenate([np.empty(0, dtype), *runs])

    def _piece(self, piece: bytes) -> Iterator[list[int]]:
        try:
            yield from self._text(piece.decode(), _has_no_run(piece))
        except UnicodeDecodeError:
            for run in _NOT_UTF8.split(piece.decode(errors="surrogateescape")):
                if _NOT_UTF8.fullmatch(run):
                    yield [self._token[value] for value in run.encode(errors="surrogateescape")]
                else:
                    yield from self._text(run)

    def _text(self, text: str, uncut: bool = False) -> Iterator[list[int]]:
        parts = [share for part in ([text] if uncut else cut(text)) for share in _shares(part)]
        for encoded in self._tokenizer.encode_batch_fast(parts, add_special_tokens=False):
            yield encoded.ids

    def decode(self, tokens: Sequence[int]) -> bytes:
        """Raises ValueError on tokens outside [0, V)."""
        indices = np.asarray(tokens, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.vocabulary:
            raise ValueError(f"tokens must be in [0, {self.vocabulary})")
        return b"".join(self._bytes[token] for token in indices.tolist())

    def state(self) -> dict[str, Any]:
        return {"tokenizer": self._saved}


def read_checked(name: str, path: str, sha256: str) -> bytes:
    """A file that component `name` needs, of that sha256 if one is given. UserError for another or none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(
            f"{name}: there is no file {printable(path)}; path is relative to the working directory"
        )
    content = read_file(file)
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and digest != sha256:
        raise UserError(f"{name}: sha256 of {printable(path)} is {digest}, but the spec asks for {sha256}")
    return content


def restored(name: str, state: dict[str, Any]) -> ByteLevelTokenizer:
    """Component `name` from a checkpoint. StorageError for another state, UserError without the extra."""
    library_version(name)
    try:
        return ByteLevelTokenizer(state["tokenizer"])
    except (KeyError, ValueError) as error:
        raise StorageError(f"{name}: the saved state holds no byte-level BPE") from error


def library_version(name: str) -> str:
    try:
        return version("tokenizers")
    except PackageNotFoundError:
        raise UserError(f'{name}: needs the package tokenizers: pip install "resnetbk[hf]"') from None


def cut(text: str) -> list[str]:
    """The text in parts, every second one of them `RUN` characters of a run; of most texts, one part."""
    if max(map(len, text.split()), default=0) < RUN and not _BLANK.search(text):
        return [text]  # seen ten times as fast
    return _RUN.split(text)


def _has_no_run(piece: bytes) -> bool:
    """Whether `cut` would leave it whole, seen ten times as fast again; False where that is not clear."""
    values = np.frombuffer(piece, np.uint8)
    space, high = _ASCII_SPACE[values], _HIGH[values]
    return all(_longest(run) < RUN for run in (space | high, ~space))


def _longest(run: Array) -> int:
    ends = np.flatnonzero(np.concatenate([[True], ~run, [True]]))
    return int(np.diff(ends).max()) - 1


def _shares(text: str) -> Iterator[str]:
    """The text in parts that have the same tokens."""
    start = 0
    while start < len(text):
        end = _LINE_END.search(text, start + SHARE)
        stop = end.end() if end else len(text)
        yield text[start:stop]
        start = stop


def byte_characters() -> list[str]:
    """The character that stands for each byte in GPT-2's vocabularies: itself if it is visible in Latin-1,
    otherwise one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [value for value in range(256) if value not in visible]
    return [chr(value if value in visible else 0x100 + others.index(value)) for value in range(256)]
