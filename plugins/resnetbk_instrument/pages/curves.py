"""The picture of a quantity against a cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import attrs

from resnetbk_instrument.pages import svg as report_svg
from resnetbk_instrument.pages.numbers import Unit
from resnetbk_instrument.pages.svg import GRID, INK, MUTED, WIDTH, Picture, Scale, hue
from resnetbk_instrument.results.costs import COUNT, Cost
from resnetbk_instrument.results.ngram_baseline import gram_name


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

    rows = report_svg.even_ticks(bottom, top)
    ends = report_svg.widened(min(xs), max(xs)) if cost else (0.0, 1.02 * max(xs))
    ticks_of = report_svg.log_ticks if cost else report_svg.even_ticks
    columns = [tick * unit.size for tick in ticks_of(ends[0] / unit.size, ends[1] / unit.size)]
    left = 10.0 + 6.6 * max(map(len, map(shown, rows)))
    x, y = Scale(*ends, left, WIDTH - 10.0, log=bool(cost)), Scale(bottom, top, height - 40.0, 8.0)
    picture = Picture(height)
    for row in rows:
        picture.line([(x.start, y(row)), (x.end, y(row))], GRID)
        picture.text((x.start - 3.5, y(row)), shown(row), MUTED, "end")
    label = unit.heading(against) + (", log scale" if cost else "")
    picture.axis_below(x, y.start, columns, lambda tick: f"{tick / unit.size:,g}", label)
    _rules(picture, x, y, near, (min(ys) + max(ys)) / 2)
    for curve in finite:
        _curve(picture, x, y, curve)
    return picture.svg(f"{quantity} against {against}")


def _curve(picture: Picture, x: Scale, y: Scale, curve: Curve) -> None:
    color, shape = hue(curve.hue), report_svg.mark_index(curve.hue)
    places = [(x(at), y(value)) for at, value in zip(curve.x, curve.y, strict=True)]
    if curve.low:
        edge = [*zip(curve.x, curve.high, strict=True), *reversed([*zip(curve.x, curve.low, strict=True)])]
        picture.area([(x(at), y(value)) for at, value in edge], color)
    for at, value in curve.dots:
        picture.mark((x(at), y(value)), 1.8, color, width=0.0, opacity=0.55)
    picture.line(places, color, 1.9 if curve.strong else 1.1)
    for place in places if curve.marked else ():
        picture.mark(place, 2.8, color, shape=shape)
    if curve.label and places:
        last_x, last_y = places[-1]
        picture.text((last_x - 4.0, last_y - 12.0), curve.label, color, "end", halo=True)


def _rules(picture: Picture, x: Scale, y: Scale, rules: Sequence[Rule], middle: float) -> None:
    """Each level as a line, with its words above it; words that would meet move apart. Curves fall, so that
    there is room on the right above their middle and on the left below it."""
    places = report_svg.spread([y(rule.value) - 7.5 for rule in rules], 13.0)
    for rule, place in zip(rules, places, strict=True):
        color, dashes = (INK, "5.5 3.3") if rule.goal else (MUTED, "1.3 2.6")
        picture.line([(x.start, y(rule.value)), (x.end, y(rule.value))], color, 1.1, dashes)
        right = rule.value > middle
        at = (x.end if right else x.start + 3.0, max(place, y.end + 6.0))
        picture.text(at, rule.text, color, "end" if right else "start", size=10.0, halo=True)


def _finite(curve: Curve) -> Curve:
    """The curve without points that a logarithmic axis cannot hold."""
    columns = [curve.x, curve.y, *((curve.low, curve.high) if curve.low else ())]
    rows = [row for row in zip(*columns, strict=True) if row[0] > 0 and all(map(math.isfinite, row))]
    whole = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    low, high = (whole[2], whole[3]) if len(whole) == 4 else ([], [])
    dots = [(x, y) for x, y in curve.dots if x > 0 and math.isfinite(x) and math.isfinite(y)]
    return attrs.evolve(curve, x=whole[0], y=whole[1], low=low, high=high, dots=dots)
