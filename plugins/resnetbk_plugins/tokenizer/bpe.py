"""Byte-pair encoding over bytes, learned from the training text: frequent strings become tokens.

Sennrich et al. 2016, arXiv:1508.07909, over bytes as in GPT-2, so that no text is out of vocabulary. Learned
and run by the library `tokenizers` (extra `hf`). The learned merges are cached, keyed by all that they depend
on; so a second run with the same text and vocabulary is not charged with learning them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
import numpy as np
from attrs.validators import ge

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError, UserError
from resnetbk.texts import pieces

if TYPE_CHECKING:
    from resnetbk.kinds import Array, Text

RUN = 256
"""Characters of one kind (letters and digits, spaces, others, or any of ASCII but spaces) after which a token
ends: what a longer word costs the library grows with the square of its length."""

UNBROKEN = 4 << 20
"""Characters in runs of that length from which merges are learned; each takes 100 bytes of memory then."""

_RUN = re.compile(rf"([!-~]{{{RUN}}}|\w{{{RUN}}}|(?:[^\w\s]|_){{{RUN}}}|\s{{{RUN}}})")
_BLANK = re.compile(rf"\s{{{RUN}}}")
_NOT_UTF8 = re.compile("([\udc80-\udcff]+)")  # what `surrogateescape` makes of bytes that are not UTF-8


@attrs.frozen(kw_only=True)
class BPE:
    """Up to `vocabulary` tokens including the 256 bytes; fewer if the text has no more pairs to merge."""

    vocabulary: int = attrs.field(default=1024, validator=ge(256))

    def build(self, *, text: Text) -> BPETokenizer:
        """Raises UserError without the extra."""
        depends = [text.sha256, len(text.train), self.vocabulary, _version(), RUN, UNBROKEN]
        key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()

        def write(file: BinaryIO) -> None:
            file.write(_learn(text, self.vocabulary).encode())

        path = cached_file(f"bpe/{key}.json", write)
        try:
            return BPETokenizer(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StorageError(f"bpe: {path} is damaged; delete it") from error

    def restore(self, *, state: dict[str, Any]) -> BPETokenizer:
        """Raises StorageError when the state holds no tokenizer, UserError without the extra."""
        _version()
        try:
            return BPETokenizer(state["tokenizer"])
        except (KeyError, ValueError) as error:
            raise StorageError("bpe: the saved state holds no byte-level BPE") from error


class BPETokenizer:
    """saved: the content of a tokenizer.json of `tokenizers`. ValueError if invalid or a byte is missing."""

    def __init__(self, saved: str) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(saved)
        except Exception as error:  # the library raises no narrower type
            raise ValueError(f"no tokenizer: {error}") from error
        self._saved = saved
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        names = {token: name for name, token in self._tokenizer.get_vocab().items()}
        byte = {character: bytes([value]) for value, character in enumerate(byte_characters())}
        try:
            self._bytes = [b"".join(byte[c] for c in names[token]) for token in range(self.vocabulary)]
            self._token = {value: self._bytes.index(bytes([value])) for value in range(256)}
        except (KeyError, ValueError) as error:
            raise ValueError("no tokenizer of all bytes") from error

    def encode(self, text: bytes | memoryview) -> Array:
        """(T,) uint16 for a vocabulary of up to 65536, uint8 for 256, else uint32. Any bytes: each
        byte that is not UTF-8 is a token. Nothing is merged across the borders of `pieces` and of `RUN`s."""
        dtype = np.min_scalar_type(self.vocabulary - 1)
        runs = [np.array(list(self._piece(piece)), dtype=dtype) for piece in pieces(text)]
        return np.concatenate([np.empty(0, dtype), *runs])

    def _piece(self, piece: bytes) -> Iterator[int]:
        for run in _NOT_UTF8.split(piece.decode(errors="surrogateescape")):
            if _NOT_UTF8.fullmatch(run):
                yield from (self._token[value] for value in run.encode(errors="surrogateescape"))
            else:
                for encoded in self._tokenizer.encode_batch_fast([part for part in _cut(run) if part]):
                    yield from encoded.ids

    def decode(self, tokens: Sequence[int]) -> bytes:
        """Raises ValueError on tokens outside [0, V)."""
        indices = np.asarray(tokens, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.vocabulary:
            raise ValueError(f"tokens must be in [0, {self.vocabulary})")
        return b"".join(self._bytes[token] for token in indices.tolist())

    def state(self) -> dict[str, Any]:
        return {"tokenizer": self._saved}


def _learn(text: Text, vocabulary: int) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=byte_characters(), show_progress=False
    )
    tokenizer.train_from_iterator(_learned(text), trainer)
    saved: str = tokenizer.to_str()
    return saved


def _learned(text: Text) -> Iterator[str]:
    """What merges are learned from: all, but of unbroken runs only the first `UNBROKEN` characters."""
    unbroken = 0
    for piece in pieces(text.train):
        for index, part in enumerate(_cut(piece.decode(errors="ignore"))):
            unbroken += len(part) * (index % 2)
            if index % 2 == 0 or unbroken <= UNBROKEN:
                yield part
    if unbroken:
        logging.getLogger("resnetbk").warning(
            "bpe: %s characters of the text are in runs of %d or more without a space, as base64 is: tokens "
            "end after each %d there, and merges are learned from the first %s",
            *(f"{unbroken:,}", RUN, RUN, f"{min(unbroken, UNBROKEN):,}"),
        )


def _cut(text: str) -> list[str]:
    """The text in parts, every second one of them `RUN` characters of a run; of most texts, one part."""
    if max(map(len, text.split()), default=0) < RUN and not _BLANK.search(text):
        return [text]  # seen ten times as fast
    return _RUN.split(text)


def byte_characters() -> list[str]:
    """The character that stands for each byte in GPT-2's vocabularies: itself if it is visible in Latin-1,
    otherwise one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [value for value in range(256) if value not in visible]
    return [chr(value if value in visible else 0x100 + others.index(value)) for value in range(256)]


def _version() -> str:
    try:
        return version("tokenizers")
    except PackageNotFoundError:
        raise UserError('bpe: needs the package tokenizers: pip install "resnetbk[hf]"') from None
