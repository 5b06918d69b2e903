"""The page of what a run spends where."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetbk_instrument.pages.explain import explain_page
from resnetbk_instrument.pages.text import glyphs
from resnetbk_instrument.profile.explain import Explanation, LayerRows, Strip

ALPHABET = "abcdefghij\n"
WINDOW, DEPTH = 16, 4
TEXT = ("abcdefghij\n" * 6)[: 3 * WINDOW + 5]


class Page(HTMLParser):
    """Words of a page, the spans of its text with their titles, and that its tags match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.spans: list[tuple[str, str, str]] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        assert tag not in ("script", "link", "img", "iframe")
        if tag in ("meta", "input"):
            return
        if tag == "span" and any(kind == "text" for _, kind in self.stack):
            self.spans.append((given["class"], given["title"], ""))
        self.stack.append((tag, given.get("class", "")))

    def handle_startendtag(self, tag, attributes):
        assert tag == "path"

    def handle_endtag(self, tag):
        assert self.stack.pop()[0] == tag

    def handle_data(self, data):
        if any(tag == "style" for tag, _ in self.stack):
            return
        self.words.append(data)
        if any(kind == "text" for _, kind in self.stack):
            kind, title, text = self.spans[-1]
            self.spans[-1] = (kind, title, text + data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())


def explained(text: bytes, **changes) -> Explanation:
    """Of a byte a token, whose layers go from 0 to 4 and begin again."""
    layers = np.arange(len(text)) % 5.0
    strips = tuple(Strip(np.arange(len(text)), layers > number, layers > number) for number in range(DEPTH))
    rows = tuple(LayerRows(len(text), int(s.mixer.sum()), int(s.channel.sum())) for s in strips)
    given = {
        "name": "a <run>", "text": "it & more.txt", "pieces": tuple(bytes([byte]) for byte in text),
        "left_out": 0, "layers": layers, "rows": rows,
        "losses": np.array([math.nan, *np.linspace(0.5, 2.5, len(text) - 1)]),
        "strips": strips, "span": len(text), "window": 256,
    }  # fmt: skip
    return Explanation(**{**given, **changes})


def test_every_token_has_its_colour_and_says_its_numbers():
    page = Page(explain_page(explained(b"hello world")))
    assert "".join(text for _, _, text in page.spans) == "hello world"
    # 0.5 nats to 2.5, of 3; nothing predicts the first token
    nats = [0, *(round(8 * loss / 3) for loss in np.linspace(0.5, 2.5, 10))]
    assert [kind for kind, _, _ in page.spans] == [f"r{2 * (i % 5)} n{nats[i]}" for i in range(11)]
    assert page.spans[0][1] == "0 of 4 layers, the first token, which nothing predicts"
    assert page.spans[1][1] == "1 of 4 layers, 0.50 nats"
    for word in ("a <run>", "it & more.txt", "1.500 nats/token", "b'h'"[1:], "All 11 tokens"):
        assert word in page.text, word


@pytest.mark.parametrize(("layers", "first"), [(np.arange(11) % 5.0, "layers"), (np.full(11, 4.0), "nats")])
def test_a_text_is_first_in_the_colours_that_differ(layers, first):
    text = explain_page(explained(b"hello world", layers=layers))
    inputs = re.findall(r"<input [^>]*>", text)
    assert len(inputs) == 2
    assert [f'id="by-{first}"' in each for each in inputs] == ["checked" in each for each in inputs]
    legends = re.findall(r'<p class="ramp by-(\w+)">(.*?)</p>', text)
    assert [(name, re.findall(r">([^<]+)</span>", marks)) for name, marks in legends] == [
        ("layers", ["0", "1", "2", "3", "4"]),
        ("nats", ["0", "0.75", "1.5", "2.2", "≥ 3"]),
    ]
    css, body = text.split("</style>")
    used = set(re.findall(r"\b[rn][0-8]\b", " ".join(re.findall(r'class="([^"]*)"', body))))
    assert all(f".{name} {{" in css for name in used)


def test_tokens_that_cost_more_than_nearly_all_others_have_the_last_colour():
    losses = np.array([math.nan, *np.full(98, 0.4), 50.0])
    page = Page(explain_page(explained(b"x" * 100, losses=losses)))
    assert [kind.split()[1] for kind, _, _ in page.spans] == ["n0", *["n3"] * 98, "n8"]


def test_coarse_rows_are_spoken_of_where_there_are_any():
    strips = (Strip(np.arange(10), np.arange(10) < 5, np.arange(10) < 5),)
    coarse = (Strip(np.arange(0, 10, 2), np.ones(5, dtype=bool), np.ones(5, dtype=bool)),)
    half, all_ = LayerRows(10, 5, 5), LayerRows(5, 5, 5)
    for rows, drawn, said in ((half, strips, False), (all_, coarse, True)):
        page = Page(explain_page(explained(b"0123456789", rows=(rows,), strips=drawn, layers=np.ones(10))))
        assert "were computed" in page.text
        for word in ("coarse", "scale"):
            assert (word in page.text) == said, word


def test_the_page_stands_alone_and_follows_the_theme():
    text = explain_page(explained("naïve\n".encode() * 3))
    css, body = text.split("</style>", 1)
    assert "http" not in text
    assert "url(" not in css
    assert not re.findall(r"#[0-9a-f]{6}\b", body)
    for variable in set(re.findall(r"var\((--[a-z0-9-]+)\)", body)):
        assert f"{variable}:" in css
    assert explain_page(explained("naïve\n".encode() * 3)) == text


def test_characters_of_many_bytes_are_one_and_have_the_colours_of_all():
    text = explain_page(explained("aé€𝄞".encode()))
    page = Page(text)
    assert [shown for _, _, shown in page.spans] == ["a", "é", "€", "𝄞"]
    assert page.spans[1][1].count("layers") == 2
    assert page.spans[3][1].count("layers") == 4
    assert "--layers: linear-gradient(90deg, var(--ramp-2) 0% 50%, var(--ramp-4) 50% 100%)" in text
    stripes = re.findall(r'style="([^"]*)" tabindex', text)
    assert [style.count("--nats: linear-gradient(90deg, ") for style in stripes] == [1, 1, 1]


def test_what_cannot_be_seen_is_shown():
    page = Page(explain_page(explained("a\n\tb\x00\x7f\u200b\u202é<".encode() + b"\xff\xc3")))
    shown = [text for _, _, text in page.spans]
    assert shown == ["a", "↵\n", "⇥\t", "b", "␀", "␡", "U+200B", "U+202E", "◌́", "<", "\\xff", "\\xc3"]
    assert [kind for kind, _, _ in page.spans if "odd" in kind] == ["r0 n6 odd", "r2 n7 odd"]


@given(st.lists(st.binary(max_size=5), max_size=30))
def test_tokens_of_any_bytes_are_all_there_in_their_order(pieces):
    result = list(glyphs(pieces))
    assert sum(glyph.tokens for glyph in result) == len(pieces)
    start = 0
    for glyph in result:
        here = b"".join(pieces[start : start + glyph.tokens])
        start += glyph.tokens
        assert glyph.text == here.decode(errors="backslashreplace")
        if glyph.odd:
            assert glyph.tokens == 1
        else:
            assert glyph.text.encode() == here


@given(st.text(max_size=40), st.randoms())
def test_text_however_it_is_cut_into_tokens_is_whole_again(text, random):
    data = text.encode()
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(10)) if data else []
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert "".join(glyph.text for glyph in glyphs(pieces)) == text
    assert not any(glyph.odd for glyph in glyphs(pieces))


def test_the_strip_has_exactly_the_rows_that_were_computed():
    positions = np.array([0, 3, 4, 5, 9])
    kept = np.array([True, True, True, False, True])
    strips = (
        Strip(np.arange(10), np.ones(10, dtype=bool), np.arange(10) < 5),
        Strip(positions, kept, kept),
    )
    rows = (LayerRows(10, 10, 5), LayerRows(5, 4, 4))
    text = explain_page(explained(b"0123456789", rows=rows, strips=strips, layers=np.ones(10)))
    skipped, done = re.findall(r'<path[^>]* d="([^"]*)"', text)
    assert done == "M0 0h10v4h-10zM0 5h5v4h-5zM0 10h1v9h-1zM3 10h2v9h-2zM9 10h1v9h-1z"
    assert skipped == "M5 5h5v4h-5zM5 10h1v9h-1z"
    assert 'viewBox="0 0 10 20"' in text
    page = Page(text)
    for word in ("1, channel mixer", "at its scale", "50.0 %", "40.0 %", "lower half its channel"):
        assert word in page.text, word


def test_a_deep_model_has_a_legend_that_fits():
    layers = np.arange(50) % 49.0
    strips = tuple(Strip(np.arange(50), layers > n, layers > n) for n in range(48))
    rows = tuple(LayerRows(50, int(s.mixer.sum()), int(s.channel.sum())) for s in strips)
    text = explain_page(explained(b"x" * 50, layers=layers, strips=strips, rows=rows))
    legend = re.search(r'<p class="ramp by-layers">.*?</p>', text)[0]
    assert re.findall(r">(\d+)</span>", legend) == [str(n) for n in range(0, 49, 4)]
