"""The parts of a page: numbers as a reader wants them, tables, and the page around it all.

Whatever is called HTML here is ready to stand in a page; all else passes through `html.escape` on its way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

import attrs

from resnetbk_instrument.pages.svg import hue_index, mark_index
from resnetbk_instrument.results.comparison import Interval
from resnetbk_instrument.results.costs import Units

NOTHING = "–"

Rounding = Callable[[float], int]
"""`round`, `math.floor` or `math.ceil`."""


@attrs.frozen
class Unit:
    """A unit and how many of the base it is."""

    size: float
    name: str

    @classmethod
    def of(cls, units: Units, values: Iterable[float]) -> Unit:
        """The largest of `units` in which no value is below 1, but for 0."""
        least = min((abs(value) for value in values if math.isfinite(value) and value), default=0.0)
        fitting = [(size, name) for size, name in units if least >= size]
        return cls(*(fitting[-1] if fitting else units[0]))

    def number(self, value: float, toward: Rounding = round) -> str:
        return digits(value / self.size, toward)

    def full(self, value: float) -> str:
        return f"{self.number(value)} {self.name}".strip() if math.isfinite(value) else NOTHING

    def heading(self, what: str) -> str:
        """`time, min`."""
        return f"{what},\N{NO-BREAK SPACE}{self.name}" if self.name else what


def amount(units: Units, value: float) -> str:
    """One value in the unit that suits it: `3.14 TFLOP`."""
    return Unit.of(units, [value]).full(value)


def digits(value: float, toward: Rounding = round) -> str:
    """Three significant digits, thousands set apart: `0.00123`, `12.3`, `1,230,000`."""
    if not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    places = 2 - math.floor(math.log10(abs(value)))
    rounded = _rounded(value, places, toward)
    if abs(rounded) < 1e-4 or abs(rounded) >= 1e9:
        return signed(f"{rounded:.2e}")
    # 9.996 has become 10.00: a digit more before the point is one less after it
    places = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return signed(f"{rounded:,.{places}f}")


def nats(value: float, toward: Rounding = round) -> str:
    return signed(f"{_rounded(value, 3, toward):.3f}") if math.isfinite(value) else NOTHING


def change(value: float, toward: Rounding = round) -> str:
    """Nats with their sign."""
    return signed(f"{_rounded(value, 3, toward):+.3f}") if math.isfinite(value) else NOTHING


def times(ratio: float, toward: Rounding = round) -> str:
    return f"{digits(ratio, toward)}×" if math.isfinite(ratio) else NOTHING


def signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def certain(interval: Interval) -> bool:
    """Whether it has two finite ends: one value alone gives none."""
    return interval.n > 1 and math.isfinite(interval.low) and math.isfinite(interval.high)


def ends(interval: Interval, shown: Callable[[float, Rounding], str]) -> str:
    """`5.21 to 6.61`, rounded outwards: a claim that goes by an end is never more than what was measured."""
    return f"{shown(interval.low, math.floor)} to {shown(interval.high, math.ceil)}"


def over_ends(interval: Interval | None, shown: Callable[[float, Rounding], str]) -> str:
    """HTML of an estimate above its interval, where it has one."""
    if interval is None:
        return NOTHING
    below = f"<small>{ends(interval, shown)}</small>" if certain(interval) else ""
    return f"{shown(interval.estimate, round)}{below}"


def _rounded(value: float, places: int, toward: Rounding) -> float:
    scaled = value * 10.0**places
    # 1.13 * 100 is less than 113 by a hair, which is not to be rounded down
    return toward(round(scaled, 6)) / 10.0**places


# ---------------------------------------------------------------- HTML


def element(tag: str, text: str, kind: str = "") -> str:
    """HTML of plain text in a tag."""
    return f"<{tag}{_class(kind)}>{escape(text)}</{tag}>"


def swatch(number: int, text: str) -> str:
    """A name with the colour that it has in the pictures."""
    style = f"background: var(--hue-{hue_index(number)})"
    return f'<span class="swatch s{mark_index(number)}"><i style="{style}"></i>{escape(text)}</span>'


def key(names: Sequence[str]) -> str:
    """Which colour is which arm."""
    return f'<p class="key">{"".join(swatch(i, name) for i, name in enumerate(names))}</p>'


def section(heading: str, *parts: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{''.join(parts)}</section>"


def figure(picture: str, title: str, note: str = "") -> str:
    below = f'<span class="note">{escape(note)}</span>' if note else ""
    return f"<figure><figcaption><b>{escape(title)}</b>{below}</figcaption>{picture}</figure>"


def panels(*figures: str) -> str:
    return f'<div class="panels n{min(len(figures), 3)}">{"".join(figures)}</div>'


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1, quiet: int = 0) -> str:
    """A table that scrolls in a box of its own. Headings are plain; cells are HTML, the first `words` of a
    row words and the others numbers. The last `quiet` rows are of less weight."""
    rows = [list(row) for row in rows]
    headings = "".join(
        f'<th scope="col"{_class("" if i < words else "number")}>{escape(name)}</th>'
        for i, name in enumerate(head)
    )
    lines = []
    for number, row in enumerate(rows):
        first = f'<th scope="row">{row[0]}</th>'
        others = (
            f"<td{_class('' if i < words else 'number')}>{cell}</td>" for i, cell in enumerate(row[1:], 1)
        )
        kind = "quiet" if number >= len(rows) - quiet else ""
        lines.append(f"<tr{_class(kind)}>{first}{''.join(others)}</tr>")
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{headings}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def facts(pairs: Mapping[str, str]) -> str:
    """Names and what they are, both plain."""
    items = "".join(f"<div>{element('dt', name)}{element('dd', said)}</div>" for name, said in pairs.items())
    return f"<dl>{items}</dl>"


def folded(summary: str, *parts: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def page(title: str, kind: str, lead: str, *parts: str) -> str:
    """The whole document. `lead` is HTML: what it all came to."""
    css = files("resnetbk_instrument.pages").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)} – {escape(kind)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="kind">{escape(kind)}</p><h1>{escape(title)}</h1>{lead}</header>\n'
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
