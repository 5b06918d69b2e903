"""Text as a model writes it: pieces of UTF-8 that may be torn, or hold bytes a terminal would obey."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

import click

from resnetbk.terminal import harmless


def write(pieces: Iterable[bytes], *, as_it_is: bool = False) -> None:
    """Prints each piece when it comes: harmless to a terminal, or `as_it_is`, byte for byte."""
    if as_it_is:
        for piece in pieces:
            click.echo(piece, nl=False)
    else:
        for text in codecs.iterdecode(pieces, "utf-8", "replace"):
            click.echo(harmless(text), nl=False)
    click.echo()
