"""Text as a model writes it: pieces of UTF-8 that may be torn, or hold bytes a terminal would obey."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

import click


def write(pieces: Iterable[bytes]) -> None:
    """Prints each piece when it comes; what is no text, or would control the terminal, shows as U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        click.echo(_shown(decoder.decode(piece)), nl=False)
    click.echo(decoder.decode(b"", final=True))


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
