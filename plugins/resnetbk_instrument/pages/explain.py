"""The page of what a run spends where on a text: the text itself in colour, its layers, and the numbers.

Its pictures are simple enough to be HTML and SVG of the template, so that it needs no matplotlib.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import attrs

from resnetbk_instrument.pages.html import Cell, Table, render
from resnetbk_instrument.pages.numbers import nats, signed
from resnetbk_instrument.pages.sentences import Claim
from resnetbk_instrument.pages.text import coloured, legend
from resnetbk_instrument.profile.explain import Explained, LayerRows, Strip

if TYPE_CHECKING:
    from resnetbk.kinds import Array

_BAND, _HALF = 10, 4
"""Height of a layer in the strip and of each half of it, in the picture's own units; a tenth is a gap."""


def explain_page(found: Explained) -> str:
    own, following = found.correlations()
    known = math.isfinite(own) and math.isfinite(following)
    return render(
        "explain",
        title=found.name,
        kind="what was spent where",
        headline=_headline(found),
        aside=_aside(found),
        legend=legend(found.depth),
        glyphs=coloured(found),
        depth=found.depth,
        coarse=_coarse(found),
        layers=_layers(found),
        strip=_strip(found),
        correlations=[signed(f"{value:+.2f}") for value in (own, following)] if known else [],
        depths=_depths(found),
        numbers=_numbers(found),
        tokens=_token_table(found),
    )


def _headline(found: Explained) -> list[Claim]:
    if found.share == 1:
        return [Claim("", f"All {found.depth} layers", " ran for every token: nothing here skips work.")]
    mean = f"{float(found.layers.mean()):.2f} of {found.depth} layers"
    rows = "of all rows that a model without policies computes, "
    return [
        Claim("On average ", mean, " ran for a token, a coarse row for all its tokens; "),
        Claim(rows, _percent(found.share), " were computed."),
    ]


def _aside(found: Explained) -> str:
    loss = f"Loss {nats(found.loss)} nats a token, {found.bits_per_byte:.3f} bits a byte"
    return f"{loss}, on {found.text}: {_tokens(found)}."


def _tokens(found: Explained) -> str:
    """How much was read, and how."""
    count, whole = len(found.pieces), len(found.pieces) + found.left_out
    many = f"the first {count:,} of its {whole:,} tokens" if found.left_out else f"all its {count:,} tokens"
    windows = math.ceil(count / found.window)
    return f"{many}, in {windows:,} windows that begin anew" if windows > 1 else f"{many}, in one window"


# ---------------------------------------------------------------- its layers


def _coarse(found: Explained) -> bool:
    """Whether a layer has fewer rows than tokens."""
    return any(layer.present < len(found.pieces) for layer in found.rows)


def _layers(found: Explained) -> Table:
    """A bar a layer, or two where its halves computed different rows."""
    tokens, coarse = len(found.pieces), _coarse(found)
    rows: list[list[str | Cell]] = []
    for number, layer in enumerate(found.rows, 1):
        present = layer.present / tokens
        for label, computed in _halves(number, layer):
            share = computed / tokens
            scale = [_percent(present)] if coarse else []
            rows.append([label, _meter(share, present), _percent(share), *scale, f"{computed:,}"])
    head = ["layer", "", "computed", *(["at its scale"] if coarse else []), "rows"]
    return Table(head, rows, words=2)


def _halves(number: int, layer: LayerRows) -> list[tuple[str, int]]:
    if layer.mixer == layer.channel:
        return [(str(number), layer.mixer)]
    return [(f"{number}, mixer", layer.mixer), (f"{number}, channel mixer", layer.channel)]


def _meter(share: float, present: float = 0.0) -> Cell:
    return Cell(meter=(100 * share, 100 * max(0.0, present - share)))


@attrs.frozen
class Strips:
    """The picture of which rows each layer computed in the first window: paths of two colours in a `box`."""

    span: str
    box: str
    label: str
    skipped: str
    computed: str
    halves: bool


def _strip(found: Explained) -> Strips:
    done, skipped = [], []
    for number, strip in enumerate(found.strips):
        for mask, top, height in _bands(strip):
            y = number * _BAND + top
            done += [f"M{x} {y}h{w}v{height}h-{w}z" for x, w in _runs(strip.position[mask])]
            skipped += [f"M{x} {y}h{w}v{height}h-{w}z" for x, w in _runs(strip.position[~mask])]
    shares = (
        f"layer {number} {_percent(float(strip.mixer.sum() + strip.channel.sum()) / 2 / found.span)}"
        for number, strip in enumerate(found.strips, 1)
    )
    return Strips(
        span=f"{found.span:,}",
        box=f"0 0 {found.span} {_BAND * found.depth}",
        label=f"Rows that each layer computed in the first window: {', '.join(shares)}",
        skipped="".join(skipped),
        computed="".join(done),
        halves=any((strip.mixer != strip.channel).any() for strip in found.strips),
    )


def _bands(strip: Strip) -> list[tuple[Array, int, int]]:
    """Which rows, at which height below the top of the layer, and how high."""
    if (strip.mixer == strip.channel).all():
        return [(strip.mixer, 0, _BAND - 1)]
    return [(strip.mixer, 0, _HALF), (strip.channel, _BAND - 1 - _HALF, _HALF)]


def _runs(positions: Array) -> list[tuple[int, int]]:
    """First and number of positions that follow each other without a gap."""
    groups = itertools.groupby(enumerate(positions.tolist()), lambda pair: pair[1] - pair[0])
    held = ([position for _, position in group] for _, group in groups)
    return [(run[0], len(run)) for run in held]


# ---------------------------------------------------------------- numbers


def _depths(found: Explained) -> Table:
    tokens = len(found.pieces)
    rows: list[list[str | Cell]] = [
        [
            f"{group.layers:g}",
            _meter(group.tokens / tokens),
            f"{group.tokens:,}",
            _percent(group.tokens / tokens),
            nats(group.loss),
            nats(group.next),
        ]
        for group in found.groups()
    ]
    return Table(["layers run", "", "tokens", "share", "nats", "nats of the next"], rows, words=2)


def _numbers(found: Explained) -> dict[str, str]:
    return {
        "layers run for a token": f"{float(found.layers.mean()):.3f} of {found.depth}",
        "rows of a model without policies": _percent(found.share),
        "nats a token": nats(found.loss),
        "bits a byte": f"{found.bits_per_byte:.3f}",
        "tokens": _tokens(found),
        "window": f"{found.window:,} tokens",
    }


def _token_table(found: Explained) -> Table:
    tokens = zip(found.pieces, found.layers.tolist(), found.losses.tolist(), strict=True)
    rows = [
        [f"{number:,}", _named(piece), f"{layers:g}", nats(loss)]
        for number, (piece, layers, loss) in enumerate(tokens, 1)
    ]
    return Table(["", "token", "layers", "nats"], rows, words=2)


def _named(piece: bytes) -> str:
    """A token in quotes; what cannot be seen is spelled as in Python."""
    try:
        return repr(piece.decode())
    except UnicodeDecodeError:
        return repr(piece)[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
