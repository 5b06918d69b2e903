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
from resnetbk_instrument.pages.text import coloured, legend, loss_legend
from resnetbk_instrument.profile.explain import Explanation, LayerRows, Strip

if TYPE_CHECKING:
    from resnetbk.kinds import Array

_BAND, _HALF = 10, 4
"""Height of a layer in the strip and of each half of it, in the picture's own units; a tenth is a gap."""


def explain_page(explanation: Explanation) -> str:
    own, following = explanation.correlations()
    known = math.isfinite(own) and math.isfinite(following)
    return render(
        "explain",
        title=explanation.name,
        kind="what was spent where",
        headline=_headline(explanation),
        aside=_aside(explanation),
        legends={"layers": legend(explanation.depth), "nats": loss_legend(explanation)},
        # by what differs between tokens
        first="nats" if (explanation.layers == explanation.layers[0]).all() else "layers",
        glyphs=coloured(explanation),
        depth=explanation.depth,
        coarse=_coarse(explanation),
        layers=_layers(explanation),
        strip=_strip(explanation),
        correlations=[signed(f"{value:+.2f}") for value in (own, following)] if known else [],
        depths=_depths(explanation),
        numbers=_numbers(explanation),
        tokens=_token_table(explanation),
    )


def _headline(explanation: Explanation) -> list[Claim]:
    if explanation.share == 1:
        return [
            Claim("", f"All {explanation.depth} layers", " ran for every token: nothing here skips work.")
        ]
    mean = f"{float(explanation.layers.mean()):.2f} of {explanation.depth} layers"
    rows = "of all rows that a model without policies computes, "
    shared = ", a coarse row for all its tokens" if _coarse(explanation) else ""
    return [
        Claim("On average ", mean, f" ran for a token{shared}; "),
        Claim(rows, _percent(explanation.share), " were computed."),
    ]


def _aside(explanation: Explanation) -> str:
    loss = f"Loss {nats(explanation.loss)} nats/token, {explanation.bits_per_byte:.3f} bits/byte"
    return f"{loss}, on {explanation.text}: {_tokens(explanation)}."


def _tokens(explanation: Explanation) -> str:
    """How much was read, and how."""
    count, whole = len(explanation.pieces), len(explanation.pieces) + explanation.left_out
    many = (
        f"the first {count:,} of its {whole:,} tokens"
        if explanation.left_out
        else f"all its {count:,} tokens"
    )
    windows = math.ceil(count / explanation.window)
    return f"{many}, in {windows:,} windows that begin anew" if windows > 1 else f"{many}, in one window"


# ---------------------------------------------------------------- its layers


def _coarse(explanation: Explanation) -> bool:
    """Whether a layer has fewer rows than tokens."""
    return any(layer.present < len(explanation.pieces) for layer in explanation.rows)


def _layers(explanation: Explanation) -> Table:
    """A bar a layer, or two where its halves computed different rows."""
    tokens, coarse = len(explanation.pieces), _coarse(explanation)
    rows: list[list[str | Cell]] = []
    for number, layer in enumerate(explanation.rows, 1):
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


def _strip(explanation: Explanation) -> Strips:
    done, skipped = [], []
    for number, strip in enumerate(explanation.strips):
        for mask, top, height in _bands(strip):
            y = number * _BAND + top
            done += [f"M{x} {y}h{w}v{height}h-{w}z" for x, w in _runs(strip.position[mask])]
            skipped += [f"M{x} {y}h{w}v{height}h-{w}z" for x, w in _runs(strip.position[~mask])]
    shares = (
        f"layer {number} {_percent(float(strip.mixer.sum() + strip.channel.sum()) / 2 / explanation.span)}"
        for number, strip in enumerate(explanation.strips, 1)
    )
    return Strips(
        span=f"{explanation.span:,}",
        box=f"0 0 {explanation.span} {_BAND * explanation.depth}",
        label=f"Rows that each layer computed in the first window: {', '.join(shares)}",
        skipped="".join(skipped),
        computed="".join(done),
        halves=any((strip.mixer != strip.channel).any() for strip in explanation.strips),
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


def _depths(explanation: Explanation) -> Table:
    tokens = len(explanation.pieces)
    rows: list[list[str | Cell]] = [
        [
            f"{group.layers:g}",
            _meter(group.tokens / tokens),
            f"{group.tokens:,}",
            _percent(group.tokens / tokens),
            nats(group.loss),
            nats(group.next),
        ]
        for group in explanation.groups()
    ]
    return Table(["layers run", "", "tokens", "share", "nats", "nats of the next"], rows, words=2)


def _numbers(explanation: Explanation) -> dict[str, str]:
    return {
        "layers run for a token": f"{float(explanation.layers.mean()):.3f} of {explanation.depth}",
        "rows of a model without policies": _percent(explanation.share),
        "nats/token": nats(explanation.loss),
        "bits/byte": f"{explanation.bits_per_byte:.3f}",
        "tokens": _tokens(explanation),
        "window": f"{explanation.window:,} tokens",
    }


def _token_table(explanation: Explanation) -> Table:
    tokens = zip(explanation.pieces, explanation.layers.tolist(), explanation.losses.tolist(), strict=True)
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
