"""Text as a model writes it: pieces of UTF-8 that may be torn, or hold bytes a terminal would obey."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

import click


def write(pieces: Iterable[bytes]) -> None:
    """Prints each piece when it comes; what is no text, or would control the terminal, shows as U+FFFD."""
    for text in codecs.iterdecode(pieces, "utf-8", "replace"):
        shown = (c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
        click.echo("".join(shown), nl=False)
    click.echo()
