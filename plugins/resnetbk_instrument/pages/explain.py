"""The page of what a run spends where on a text: the text itself in colour, its layers, and the numbers.

Pictures are HTML and SVG by hand, so that the page needs no library to be made.
"""

from __future__ import annotations

import itertools
import math
from html import escape
from typing import TYPE_CHECKING

from resnetbk_instrument.pages import html
from resnetbk_instrument.pages.text import text_section
from resnetbk_instrument.profile.explain import Explained, LayerRows, Strip

if TYPE_CHECKING:
    from resnetbk.kinds import Array

_BAND, _HALF = 10, 4
"""Height of a layer in the strip and of each half of it, in the picture's own units; a tenth is a gap."""


def explain_page(found: Explained) -> str:
    return html.page(
        found.name,
        "what was spent where",
        _lead(found),
        text_section(found),
        _layer_section(found),
        _strip_section(found),
        _depth_section(found),
        _number_section(found),
        html.section("Every token", html.folded(f"All {len(found.pieces):,} tokens", _token_table(found))),
    )


def _lead(found: Explained) -> str:
    layers = float(found.layers.mean())
    if found.share == 1:
        head = f"<b>All {found.depth} layers</b> ran for every token: nothing here skips work."
    else:
        head = (
            f"On average <b>{layers:.2f} of {found.depth} layers</b> ran for a token, a coarse row for all "
            f"its tokens; of all rows that a model without policies computes, <b>{_percent(found.share)}</b> "
            "were computed."
        )
    said = (
        f"Loss {html.nats(found.loss)} nats a token, {found.bits_per_byte:.3f} bits a byte, on {found.text}: "
        f"{_tokens(found)}."
    )
    return f'<p class="verdict">{head}</p><p class="aside">{escape(said)}</p>'


def _tokens(found: Explained) -> str:
    """How much was read, and how."""
    count, whole = len(found.pieces), len(found.pieces) + found.left_out
    many = f"the first {count:,} of its {whole:,} tokens" if found.left_out else f"all its {count:,} tokens"
    windows = math.ceil(count / found.window)
    return f"{many}, in {windows:,} windows that begin anew" if windows > 1 else f"{many}, in one window"


# ---------------------------------------------------------------- its layers


def _layer_section(found: Explained) -> str:
    """A bar a layer, or two where its halves computed different rows."""
    tokens, coarse = len(found.pieces), any(layer.present < len(found.pieces) for layer in found.rows)
    rows = []
    for number, layer in enumerate(found.rows, 1):
        for label, computed in _halves(number, layer):
            cells = [label, _bar(computed / tokens, layer.present / tokens), _percent(computed / tokens)]
            rows.append([*cells, *([_percent(layer.present / tokens)] if coarse else []), f"{computed:,}"])
    head = ["layer", "", "computed", *(["at its scale"] if coarse else []), "rows"]
    note = "Shares are of one row a token."
    note += " A coarser scale has fewer rows: those that a layer left out there are grey." if coarse else ""
    return html.section(
        "What each layer computed", html.element("p", note, "note"), html.grid(head, rows, words=2)
    )


def _halves(number: int, layer: LayerRows) -> list[tuple[str, int]]:
    if layer.mixer == layer.channel:
        return [(str(number), layer.mixer)]
    return [(f"{number}, mixer", layer.mixer), (f"{number}, channel mixer", layer.channel)]


def _bar(share: float, present: float = 0.0) -> str:
    left_out = f'<i style="width: {100 * (present - share):.1f}%"></i>' if present > share else ""
    return f'<div class="meter"><i style="width: {100 * share:.1f}%"></i>{left_out}</div>'


def _strip_section(found: Explained) -> str:
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
    label = f"Rows that each layer computed in the first window: {', '.join(shares)}"
    names = "".join(f"<span>{number}</span>" for number in range(1, found.depth + 1))
    picture = (
        f'<div class="strip"><div>{names}</div>'
        f'<svg viewBox="0 0 {found.span} {_BAND * found.depth}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><path class="left" d="{"".join(skipped)}"/>'
        f'<path d="{"".join(done)}"/></svg>'
        f"<b></b><p><span>token 1</span><span>{found.span:,}</span></p></div>"
    )
    note = (
        f"Layers from top to bottom, the first {found.span:,} tokens from left to right: what was computed "
        "is in colour, rows that were left out are grey; where there is neither, a layer has no row at its "
        "scale."
    )
    if any((strip.mixer != strip.channel).any() for strip in found.strips):
        note += " The upper half of a layer is its mixer, the lower half its channel mixer."
    return html.section("Which rows", html.element("p", note, "note"), picture)


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


def _depth_section(found: Explained) -> str:
    tokens = len(found.pieces)
    rows = [
        [
            f"{group.layers:g}",
            _bar(group.tokens / tokens),
            f"{group.tokens:,}",
            _percent(group.tokens / tokens),
            html.nats(group.loss),
            html.nats(group.next),
        ]
        for group in found.groups()
    ]
    own, following = found.correlations()
    said = (
        "Nats of the token itself say whether more was spent on what came as a surprise; those of the next "
        "token, what the layers that ran here achieved."
    )
    if math.isfinite(own) and math.isfinite(following):
        said += f" Correlation with layers run: {html.signed(f'{own:+.2f}')} and "
        said += f"{html.signed(f'{following:+.2f}')}."
    return html.section(
        "How deep tokens went",
        html.element("p", said, "note"),
        html.grid(["layers run", "", "tokens", "share", "nats", "nats of the next"], rows, words=2),
    )


def _number_section(found: Explained) -> str:
    return html.section(
        "Numbers",
        html.facts(
            {
                "layers run for a token": f"{float(found.layers.mean()):.3f} of {found.depth}",
                "rows of a model without policies": _percent(found.share),
                "nats a token": html.nats(found.loss),
                "bits a byte": f"{found.bits_per_byte:.3f}",
                "tokens": _tokens(found),
                "window": f"{found.window:,} tokens",
            }
        ),
    )


def _token_table(found: Explained) -> str:
    rows = [
        [f"{number:,}", escape(_named(piece)), f"{layers:g}", html.nats(loss)]
        for number, (piece, layers, loss) in enumerate(
            zip(found.pieces, found.layers.tolist(), found.losses.tolist(), strict=True), 1
        )
    ]
    return f'<div class="code">{html.grid(["", "token", "layers", "nats"], rows, words=2)}</div>'


def _named(piece: bytes) -> str:
    """A token in quotes; what cannot be seen is spelled as in Python."""
    try:
        return repr(piece.decode())
    except UnicodeDecodeError:
        return repr(piece)[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
