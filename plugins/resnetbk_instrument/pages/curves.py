"""The picture of a quantity against a cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from resnetbk_instrument.pages import svg as report_svg
from resnetbk_instrument.pages.numbers import Unit
from resnetbk_instrument.pages.svg import INK, MUTED, PAPER, hue
from resnetbk_instrument.results.costs import COUNT, Cost
from resnetbk_instrument.results.ngram_baseline import gram_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@attrs.frozen(kw_only=True)
class Curve:
    """Points that are joined in their order, with a band from `low` to `high`; `dots` stand by themselves.

    hue     number of the thing that it is about: its colour and mark
    marked  whether points have a mark
    strong  whether the line is what the picture is about
    label   said at its last point
    """

    hue: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: Sequence[tuple[float, float]] = ()
    marked: bool = True
    strong: bool = True
    label: str = ""


@attrs.frozen
class Rule:
    """A level to compare curves with."""

    value: float
    text: str
    goal: bool = False


def baseline_rules(ngram_baseline: Mapping[int, float]) -> list[Rule]:
    return [Rule(loss, f"{gram_name(order)} counts") for order, loss in sorted(ngram_baseline.items())]


def curves(
    name: str,
    cost: Cost | None,
    quantity: str,
    drawn: Sequence[Curve],
    rules: Sequence[Rule] = (),
    *,
    shown: Callable[[float], str] = "{:.2f}".format,
    height: float = 270.0,
) -> str:
    """`quantity` against a cost on a logarithmic axis, or against steps, without one, on an even one. Points
    that are not finite are left out, and rules that lie far off; "" when no point is left."""
    against = cost.title if cost else "steps"
    finite = [_finite(curve) for curve in drawn]
    xs = [x for curve in finite for x in (*curve.x, *(x for x, _ in curve.dots))]
    ys = [y for curve in finite for y in (*curve.y, *curve.low, *curve.high, *(y for _, y in curve.dots))]
    if not xs:
        return ""
    low, high = min(ys), max(ys)
    room = max(high - low, 0.02 * abs(high), 1e-9)
    near = [rule for rule in rules if rule.goal or low - 0.6 * room <= rule.value <= high + 0.2 * room]
    low, high = min(low, *(rule.value for rule in near), low), max(high, *(rule.value for rule in near), high)
    margin = 0.07 * max(high - low, room)
    bottom, top = low - margin, high + margin
    unit = Unit.of(cost.units if cost else COUNT, [math.sqrt(min(xs) * max(xs))])

    def draw(figure: Figure) -> None:
        rows = report_svg.even_ticks(bottom, top)
        axes = report_svg.axes(figure, 10.0 + 6.6 * max(map(len, map(shown, rows))), 10.0, 40.0, 8.0)
        ends = report_svg.widened(min(xs), max(xs)) if cost else (0.0, 1.02 * max(xs))
        axes.set_xscale("log" if cost else "linear")
        axes.set_xlim(*ends)
        axes.set_ylim(bottom, top)
        axes.grid(axis="y")
        ticks_of = report_svg.log_ticks if cost else report_svg.even_ticks
        columns = [tick * unit.size for tick in ticks_of(ends[0] / unit.size, ends[1] / unit.size)]
        report_svg.set_ticks(axes.xaxis, columns, lambda tick: f"{tick / unit.size:,g}")
        report_svg.set_ticks(axes.yaxis, rows, shown)
        axes.set_xlabel(unit.heading(against) + (", log scale" if cost else ""))
        _rules(axes, near, height - 48.0, (min(ys) + max(ys)) / 2)
        for curve in finite:
            _curve(axes, curve)

    return report_svg.svg(name, f"{quantity} against {against}", height, draw)


def _curve(axes: Axes, curve: Curve) -> None:
    color = hue(curve.hue)
    if curve.low:
        axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.16, linewidth=0)
    if curve.dots:
        xs, ys = zip(*curve.dots, strict=True)
        axes.plot(xs, ys, "o", color=color, markersize=3.6, markeredgewidth=0, alpha=0.55)
    style: dict[str, Any] = {"color": color, "linewidth": 1.9 if curve.strong else 1.1}
    if curve.marked:
        style |= {"marker": report_svg.marker(curve.hue), "markersize": 5.6, "markeredgecolor": PAPER}
    axes.plot(curve.x, curve.y, **style)
    if curve.label and curve.x:
        last = (curve.x[-1], curve.y[-1])
        text = axes.annotate(curve.label, last, (-4, 8), textcoords="offset points", ha="right", color=color)
        report_svg.halo(text)


def _rules(axes: Axes, rules: Sequence[Rule], height: float, middle: float) -> None:
    """Each level as a line, with its words above it; words that would meet move apart. Curves fall, so that
    there is room on the right above their middle and on the left below it."""
    low, high = axes.get_ylim()
    a_point = (high - low) / height
    places = report_svg.spread([rule.value + 7.5 * a_point for rule in rules], 13.0 * a_point)
    for rule, place in zip(rules, places, strict=True):
        color, dashes = (INK, (5.0, 3.0)) if rule.goal else (MUTED, (1.2, 2.4))
        axes.axhline(rule.value, color=color, linewidth=1.1, linestyle=(0, dashes))
        side, align = (1.0, "right") if rule.value > middle else (0.01, "left")
        text = axes.annotate(
            rule.text, (side, min(place, high - 6 * a_point)), xycoords=("axes fraction", "data"), ha=align,
            va="center", fontsize=10, color=color,
        )  # fmt: skip
        report_svg.halo(text)


def _finite(curve: Curve) -> Curve:
    """The curve without points that a logarithmic axis cannot hold."""
    columns = [curve.x, curve.y, *((curve.low, curve.high) if curve.low else ())]
    rows = [row for row in zip(*columns, strict=True) if row[0] > 0 and all(map(math.isfinite, row))]
    whole = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    low, high = (whole[2], whole[3]) if len(whole) == 4 else ([], [])
    dots = [(x, y) for x, y in curve.dots if x > 0 and math.isfinite(x) and math.isfinite(y)]
    return attrs.evolve(curve, x=whole[0], y=whole[1], low=low, high=high, dots=dots)
