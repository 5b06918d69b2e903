"""A text in the colours of the layers that ran for its tokens, for the page of what a run spends where."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from html import escape

import attrs

from resnetbk_instrument.pages import html
from resnetbk_instrument.profile.explain import Explained

SHADES = 8
"""Steps of the colour from no layer to all of them: `--ramp-0`, which is the page's own, to `--ramp-8`."""


@attrs.frozen
class Glyphs:
    """Whole characters, and how many tokens they are made of. `odd`: bytes that are none, spelled out."""

    text: str
    tokens: int
    odd: bool = False


def text_section(found: Explained) -> str:
    note = (
        "The more layers ran for a token, the stronger its colour. Point at a token, or tap it, for its "
        "layers and what predicting it cost; the table at the end has them all. A character of several "
        "tokens has the colour of each."
    )
    return html.section(
        "The text",
        html.element("p", note, "note"),
        _legend(found.depth),
        f'<p class="text">{_text(found)}</p>',
    )


def _legend(depth: int) -> str:
    every = math.ceil(depth / 12)
    counts = [*range(0, depth, every), depth]
    steps = "".join(f'<span class="r{_shade(count, depth)}">{count}</span>' for count in counts)
    return f'<p class="ramp"><b>layers</b>{steps}</p>'


def _text(found: Explained) -> str:
    parts, first = [], 0
    for glyph in glyphs(found.pieces):
        numbers = range(first, first + glyph.tokens)
        first += glyph.tokens
        shades = [_shade(float(found.layers[i]), found.depth) for i in numbers]
        kind = f' class="r{shades[0]}{" odd" if glyph.odd else ""}"'
        style = f' style="background: {_stripes(shades)}"' if len(set(shades)) > 1 else ""
        said = "; ".join(_said(found, i) for i in numbers)
        parts.append(f'<span{kind}{style} tabindex="-1" title="{said}">{_visible(glyph.text)}</span>')
    return "".join(parts)


def _shade(layers: float, depth: int) -> int:
    return round(SHADES * layers / depth)


def _stripes(shades: Sequence[int]) -> str:
    """A background with a stripe for each token of one character."""
    width = 100 / len(shades)
    stops = (f"var(--ramp-{shade}) {width * i:.0f}% {width * (i + 1):.0f}%" for i, shade in enumerate(shades))
    return f"linear-gradient(90deg, {', '.join(stops)})"


def _said(found: Explained, token: int) -> str:
    loss = float(found.losses[token])
    cost = f"{loss:.2f} nats" if math.isfinite(loss) else "the first token, which nothing predicts"
    return f"{found.layers[token]:g} of {found.depth} layers, {cost}"


def _visible(text: str) -> str:
    """HTML in which what has no shape of its own has one. Line breaks and tabs stay what they are."""
    if not text:
        return _mark("∅")
    lone = "◌" if unicodedata.category(text[0]).startswith("M") else ""
    return lone + "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return _mark("↵" if character == "\n" else "⇥") + character
    if code < 0x20 or code == 0x7F:
        return _mark(chr(0x2421 if code == 0x7F else 0x2400 + code))
    if unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp"):
        return _mark(f"U+{code:04X}")  # also what would turn the direction of all that follows
    return escape(character)


def _mark(sign: str) -> str:
    return f"<i>{sign}</i>"


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
