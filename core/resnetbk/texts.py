"""Texts larger than memory: mapped where they stand on disk, and walked through in pieces."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

LARGE = 64 << 20
"""Bytes of text above which it is left on disk, and its tokens too. Below, memory is no matter, and a file
that somebody edits during a run harms nothing."""

PIECE = 1 << 20
"""Bytes that are worked on at a time."""


def mapped(file: Path) -> memoryview:
    """A file's bytes, read-only, read on access. The file must not change; nor may it be empty."""
    with file.open("rb") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))


def pieces(text: bytes | memoryview, size: int = PIECE) -> Iterator[bytes]:
    """The whole of a text, in order, `size` >= 4 bytes or less at a time.

    Cut after the last line break of each piece, else between two characters of UTF-8.
    """
    start = 0
    while start < len(text):
        piece = bytes(text[start : start + size])
        if start + size < len(text):
            piece = piece[: piece.rfind(b"\n") + 1 or _border(text[start : start + size + 1])]
        yield piece
        start += len(piece)


def _border(text: bytes | memoryview) -> int:
    """The last place, but the first few, where a character begins; the last one where none does."""
    end = len(text) - 1
    return next((place for place in range(end, max(end - 4, 0), -1) if text[place] & 0xC0 != 0x80), end)
