"""Pictures for a page: SVG elements that are a part of the HTML around them.

Text is in the page's font, every colour is one of the page's CSS variables (so that one picture serves light
and dark), and the same input gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Literal, TypeAlias

import attrs

WIDTH = 380.0
"""Of a picture, in its own units: about a phone's, so that letters keep their size there."""

HUES = 7
"""Colours for things of one sort: `--hue-0`, a neutral one, to `--hue-6`."""

PHASES = 6
"""Colours for the parts of one thing, `--phase-0` to `--phase-5`: lightness alone tells them apart, too."""

INK, MUTED, GRID, PAPER = (f"var(--{name})" for name in ("ink", "muted", "grid", "paper"))

SIZE = 11.0
"""Of letters, as `.chart text` in report.css has it."""

Point: TypeAlias = tuple[float, float]
Anchor: TypeAlias = Literal["start", "middle", "end"]


def hue(number: int) -> str:
    """The colour of thing `number`: the first is neutral, later ones repeat."""
    return f"var(--hue-{hue_index(number)})"


def hue_index(number: int) -> int:
    """Which of the variables `--hue-i` is the colour of thing `number`."""
    return 0 if number == 0 else 1 + (number - 1) % (HUES - 1)


def phase_color(number: int) -> str:
    """The colour of part `number`: those after the last colour share it."""
    return f"var(--phase-{phase_index(number)})"


def phase_index(number: int) -> int:
    """Which of the variables `--phase-i` is the colour of part `number`."""
    return min(number, PHASES - 1)


def mark_index(number: int) -> int:
    """Which of three marks thing `number` has, a dot, a square, a diamond: it changes where colours begin
    again."""
    return max(0, number - 1) // (HUES - 1) % 3


@attrs.frozen
class Scale:
    """An axis: values from `low` to `high` lie between `start` and `end`, in the picture's units."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (
            map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)


class Picture:
    """WIDTH by `height` units from the top left corner. What is drawn later lies above."""

    def __init__(self, height: float) -> None:
        self.height = height
        self._elements: list[str] = []

    def svg(self, label: str) -> str:
        """The `<svg>` element, with this accessible label."""
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH:g} {self.height:g}" role="img" '
            f'aria-label="{escape(label)}">{"".join(self._elements)}</svg>'
        )

    def line(self, points: Iterable[Point], color: str, width: float = 1.0, dashes: str = "") -> None:
        dashed = f"; stroke-dasharray: {dashes}" if dashes else ""
        style = f"fill: none; stroke: {color}; stroke-width: {width:g}{dashed}"
        self._elements.append(f'<polyline points="{_places(points)}" style="{style}"/>')

    def area(self, points: Iterable[Point], color: str) -> None:
        """What these points enclose, faintly."""
        style = f"fill: {color}; fill-opacity: 0.16"
        self._elements.append(f'<polygon points="{_places(points)}" style="{style}"/>')

    def bar(self, left: float, right: float, middle: float, height: float, color: str) -> None:
        self._elements.append(
            f'<rect x="{left:.2f}" y="{middle - height / 2:.2f}" width="{right - left:.2f}" '
            f'height="{height:g}" style="fill: {color}; stroke: {PAPER}"/>'
        )

    def mark(
        self, at: Point, radius: float, face: str, *, edge: str = PAPER, width: float = 1.0, shape: int = 0,
        opacity: float = 1.0,
    ) -> None:  # fmt: skip
        """A dot, a square or a diamond (shape 0, 1, 2)."""
        (x, y), r = at, radius
        style = f'style="fill: {face}; stroke: {edge}; stroke-width: {width:g}; opacity: {opacity:g}"'
        if shape == 0:
            self._elements.append(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{r:g}" {style}/>')
            return
        square = ((x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r))
        diamond = ((x, y - 1.4 * r), (x + 1.4 * r, y), (x, y + 1.4 * r), (x - 1.4 * r, y))
        self._elements.append(f'<polygon points="{_places(square if shape == 1 else diamond)}" {style}/>')

    def text(
        self,
        at: Point,
        words: str,
        color: str = INK,
        anchor: Anchor = "start",
        *,
        size: float = SIZE,
        bold: bool = False,
        halo: bool = False,
    ) -> None:
        """`at`: where it starts, ends or has its middle, and the middle of its height. `halo` sets it off
        from lines behind it."""
        x, y = at[0], at[1] + 0.38 * size  # to the line that letters stand on
        style = f"fill: {color}; text-anchor: {anchor}"
        style += f"; font-size: {size:g}px" * (size != SIZE) + "; font-weight: bold" * bold
        name = ' class="halo"' if halo else ""
        self._elements.append(f'<text{name} x="{x:.2f}" y="{y:.2f}" style="{style}">{escape(words)}</text>')

    def axis_below(
        self, x: Scale, y: float, ticks: Sequence[float], shown: Callable[[float], str], label: str
    ) -> None:
        """The axis `x` at the height `y`, with words at its ticks and a label under these."""
        self.line([(x.start, y), (x.end, y)], GRID)
        for tick in ticks:
            self.line([(x(tick), y), (x(tick), y + 3.5)], GRID)
            self.text((x(tick), y + 11.2), shown(tick), MUTED, "middle")
        self.text(((x.start + x.end) / 2, y + 26.2), label, MUTED, "middle")


def _places(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def cut(name: str) -> str:
    """A name of any length as there is room for: `a-very-long-na…`."""
    return name if len(name) <= 40 else f"{name[:39]}…"


def log_ticks(low: float, high: float, fewest: int = 3) -> list[float]:
    """Round numbers within [low, high], which is positive, for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for mantissas in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        ticks = [m * 10.0**d for d in decades for m in mantissas if low <= m * 10.0**d <= high]
        if len(ticks) >= fewest:
            return ticks[:: 1 + len(ticks) // 8]
    return even_ticks(low, high)


def even_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Some three to five round numbers within [low, high]."""
    rough = (high - low) / most
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(size * decade for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * decade >= rough * (1 - 1e-9))
    return [
        number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def widened(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """The ends of a logarithmic axis that leaves room about [low, high]."""
    room = max((high / low) ** share, 1.08)
    return low / room, high * room


def spread(wanted: Iterable[float], gap: float) -> list[float]:
    """Places near those wanted, in their order, and at least `gap` apart."""
    wanted = list(wanted)
    groups: list[tuple[float, list[int]]] = []  # the middle of a group, and whose places it holds
    for index in sorted(range(len(wanted)), key=wanted.__getitem__):
        middle, held = wanted[index], [index]
        while groups and groups[-1][0] + gap * (len(groups[-1][1]) + len(held)) / 2 > middle:
            before, others = groups.pop()
            middle = (before * len(others) + middle * len(held)) / (len(others) + len(held))
            held = others + held
        groups.append((middle, held))
    places = list(wanted)
    for middle, held in groups:
        for number, index in enumerate(held):
            places[index] = middle + gap * (number - (len(held) - 1) / 2)
    return places
