"""A text in colours, of the layers that ran for its tokens or of what these cost, for the page of what a run
spends where."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np

from resnetbk_instrument.profile.explain import Explanation

SHADES = 8
"""Steps of the colour from nothing to all: `--ramp-0`, which is the page's own, to `--ramp-8`."""


@attrs.frozen
class Glyphs:
    """Whole characters, and how many tokens they consist of. `odd`: bytes that are none, spelled out."""

    text: str
    tokens: int
    odd: bool = False


@attrs.frozen
class Coloured:
    """Whole characters as a page shows them.

    kind     CSS classes: `r3` and `n5` are the shades of layers and of nats, of the first token
    stripes  backgrounds with a stripe for each token of one character, by layers and by nats; "" for one
             colour
    said     the numbers of each token
    parts    pairs of a sign for what has no shape of its own, or "", and a text
    """

    kind: str
    stripes: str
    said: str
    parts: Sequence[tuple[str, str]]


def legend(depth: int) -> list[tuple[str, int]]:
    """Numbers of layers and their shades."""
    every = math.ceil(depth / 12)
    return [(str(count), _shade(count, depth)) for count in (*range(0, depth, every), depth)]


def loss_legend(explanation: Explanation) -> list[tuple[str, int]]:
    """Nats and their shades; the last is also that of more."""
    most = _most(explanation)
    marks = [(f"{most * shade / SHADES:.2g}", shade) for shade in range(0, SHADES, 2)]
    return [*marks, (f"≥ {most:g}", SHADES)]


def _most(explanation: Explanation) -> float:
    """The nats that have the last shade: a whole number that few tokens exceed."""
    return max(1.0, math.ceil(float(np.nanquantile(explanation.losses, 0.95))))


def coloured(explanation: Explanation) -> Iterator[Coloured]:
    first, most = 0, _most(explanation)
    losses = np.nan_to_num(explanation.losses, nan=0.0)
    for glyph in glyphs(explanation.pieces):
        numbers = range(first, first + glyph.tokens)
        first += glyph.tokens
        layers = [_shade(float(explanation.layers[i]), explanation.depth) for i in numbers]
        nats = [_shade(float(losses[i]), most) for i in numbers]
        yield Coloured(
            kind=f"r{layers[0]} n{nats[0]}{' odd' if glyph.odd else ''}",
            stripes="; ".join(filter(None, (_stripes("layers", layers), _stripes("nats", nats)))),
            said="; ".join(_said(explanation, i) for i in numbers),
            parts=_visible(glyph.text),
        )


def _shade(value: float, most: float) -> int:
    return min(SHADES, round(SHADES * value / most))


def _stripes(name: str, shades: Sequence[int]) -> str:
    """A variable of CSS; "" for one shade."""
    if len(set(shades)) == 1:
        return ""
    width = 100 / len(shades)
    stops = (f"var(--ramp-{shade}) {width * i:.0f}% {width * (i + 1):.0f}%" for i, shade in enumerate(shades))
    return f"--{name}: linear-gradient(90deg, {', '.join(stops)})"


def _said(explanation: Explanation, token: int) -> str:
    loss = float(explanation.losses[token])
    cost = f"{loss:.2f} nats" if math.isfinite(loss) else "the first token, which nothing predicts"
    return f"{explanation.layers[token]:g} of {explanation.depth} layers, {cost}"


def _visible(text: str) -> list[tuple[str, str]]:
    """Parts in which what has no shape of its own has one. Line breaks and tabs stay what they are."""
    if not text:
        return [("∅", "")]
    lone = "◌" if unicodedata.category(text[0]).startswith("M") else ""
    return [("", lone), *((_sign(character), _shown(character)) for character in text)]


def _sign(character: str) -> str:
    """For a character that shows nothing; "" for any other."""
    code = ord(character)
    if character in "\n\t":
        return "↵" if character == "\n" else "⇥"
    if code < 0x20 or code == 0x7F:
        return chr(0x2421 if code == 0x7F else 0x2400 + code)
    if unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp"):
        return f"U+{code:04X}"  # also what would turn the direction of all that follows
    return ""


def _shown(character: str) -> str:
    return "" if _sign(character) and character not in "\n\t" else character


def glyphs(pieces: Iterable[bytes]) -> Iterator[Glyphs]:
    """Neighbouring tokens put together until they are whole characters of UTF-8."""
    held: list[bytes] = []
    for piece in pieces:
        held.append(piece)
        while held:
            joined = b"".join(held)
            try:
                yield Glyphs(joined.decode(), len(held))
                held = []
            except UnicodeDecodeError as error:
                if error.reason == "unexpected end of data":  # the rest of it may be in the next token
                    break
                yield _odd(held.pop(0))
    if held:
        yield _odd(held[0])
        yield from glyphs(held[1:])


def _odd(piece: bytes) -> Glyphs:
    return Glyphs(piece.decode(errors="backslashreplace"), 1, odd=True)
