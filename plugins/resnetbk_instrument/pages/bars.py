"""Pictures of a line a thing: estimates with their intervals, and what costs consist of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import attrs

from resnetbk_instrument.pages import svg as report_svg
from resnetbk_instrument.pages.numbers import Rounding, Unit, certain, digits, shares, spread
from resnetbk_instrument.pages.svg import (
    GRID,
    INK,
    MUTED,
    PAPER,
    PHASES,
    WIDTH,
    Picture,
    Scale,
    cut,
    hue,
    phase_color,
    phase_index,
)
from resnetbk_instrument.results.comparison import Interval
from resnetbk_instrument.results.costs import COSTS

_ROW, _GAP, _BAR = 21.0, 10.0, 52.0


@attrs.frozen
class Estimate:
    """One line of a forest plot."""

    text: str
    interval: Interval
    hollow: bool = False


@attrs.frozen
class Group:
    """Lines of a forest plot under one heading, and what to say of them beside it."""

    heading: str
    hue: int
    estimates: Sequence[Estimate]
    note: str = ""


@attrs.frozen
class Phases:
    """What the time of each row consists of; `names`: of the phases, in the order of their colours."""

    picture: str
    note: str
    names: Sequence[str]


def forest(
    label: str,
    groups: Sequence[Group],
    *,
    ratio: bool,
    shown: Callable[[float, Rounding], str] = digits,
) -> str:
    """Estimates with their intervals about the line of no difference: 1 for ratios, on a logarithmic axis,
    else 0. "" when there is no estimate."""
    kept = [
        attrs.evolve(group, estimates=tuple(e for e in group.estimates if _sound(e.interval, ratio)))
        for group in groups
    ]
    kept = [group for group in kept if group.estimates]
    if not kept:
        return ""
    middle = 1.0 if ratio else 0.0
    below = 52.0 if ratio else 38.0
    height = _ROW * sum(1 + len(group.estimates) for group in kept) + _GAP * (len(kept) - 1) + below + 2.0
    reach = [middle]
    for interval in (estimate.interval for group in kept for estimate in group.estimates):
        reach += [interval.estimate, *((interval.low, interval.high) if certain(interval) else ())]
    reach = [end for end in reach if not ratio or end > 0]

    letters = max(len(estimate.text) for group in kept for estimate in group.estimates)
    if ratio:
        low, high = report_svg.widened(min(reach), max(reach), 0.09)
        ticks = report_svg.log_ticks(low, high, fewest=2)[:6]
    else:
        room = 0.09 * (max(reach) - min(reach)) or 0.01
        low, high = min(reach) - room, max(reach) + room
        ticks = report_svg.even_ticks(low, high, most=3)  # words like +0.250 are wide
    x, bottom = Scale(low, high, 6.0 + 6.3 * letters, WIDTH - 148.0, log=ratio), height - below + 6.0
    picture = Picture(height)
    for tick in ticks:
        picture.line([(x(tick), 2.0), (x(tick), bottom)], GRID)
    tick_words = (lambda tick: f"{tick:g}×") if ratio else (lambda tick: shown(tick, round))
    picture.axis_below(x, bottom, ticks, tick_words, "log scale" if ratio else "")
    top = 2.0
    for group in kept:
        color, y = hue(group.hue), top + _ROW / 2
        picture.text((2.0, y), cut(group.heading), color, bold=True, halo=True)
        picture.text((WIDTH - 2.0, y), group.note, MUTED, "end")
        ends = top + _ROW, top + _ROW * (1 + len(group.estimates))
        picture.line([(x(middle), end) for end in ends], INK, 1.2)
        for estimate in group.estimates:
            top += _ROW
            _estimate(picture, x, top + _ROW / 2, color, estimate, shown)
        top += _ROW + _GAP
    return picture.svg(label)


def _bars(rows: Sequence[tuple[str, int, Mapping[str, float]]], names: Sequence[str]) -> str:
    """A bar a row, whose parts have the colours of their places in `names`."""
    totals = [sum(parts.values()) for _, _, parts in rows]
    unit, height = Unit.of(COSTS["seconds"].units, totals), _BAR * len(rows) + 4.0

    picture, x = Picture(height), Scale(0.0, max(totals), 2.0, WIDTH - 2.0)
    for number, ((text, color, parts), total) in enumerate(zip(rows, totals, strict=True)):
        top, at = _BAR * number, 0.0
        picture.text((2.0, top + 13.0), cut(text), hue(color), bold=True)
        picture.text((WIDTH - 2.0, top + 13.0), unit.full(total), anchor="end")
        for (part, value), percent in zip(parts.items(), shares(list(parts.values())), strict=True):
            if part not in names:
                continue
            place, y = names.index(part), top + 36.0
            picture.bar(x(at), x(at + value), y, 22.0, phase_color(place))
            share, wide = f"{percent} %", x(value) - x(0.0)
            said = next((s for s in (f"{part} {share}", share) if 6.6 * len(s) + 8 < wide), "")
            on = INK if phase_index(place) == PHASES - 1 else PAPER  # the last is near to paper
            picture.text((x(at + value / 2), y), said, on, "middle", size=10.0)
            at += value
    return picture.svg("Time by phase")


def phases(rows: Sequence[tuple[str, int, Mapping[str, float]]], note: str) -> Phases | None:
    """Of rows with a name, its hue and seconds by phase; None without any. Phases that took nothing, to a
    whole percent, are left out."""
    sound = [
        (text, number, {k: v for k, v in parts.items() if 0 < v < math.inf}) for text, number, parts in rows
    ]
    sound = [row for row in sound if row[2]]
    every = dict.fromkeys(name for _, _, parts in rows for name in parts)
    names = [n for n in every if any(p.get(n, 0.0) >= 0.005 * sum(p.values()) for _, _, p in sound)]
    return Phases(_bars(sound, names), note, names) if sound else None


def _estimate(
    picture: Picture,
    x: Scale,
    y: float,
    color: str,
    estimate: Estimate,
    shown: Callable[[float, Rounding], str],
) -> None:
    """One line of a forest plot, whose middle is `y`."""
    interval = estimate.interval
    picture.text((2.0, y), estimate.text, MUTED)
    if certain(interval):
        picture.line([(x(max(interval.low, x.low)), y), (x(interval.high), y)], color, 2.2)
    words = spread(interval, shown) or ("one pair" if interval.n == 1 else "no interval")
    face = PAPER if estimate.hollow else color
    picture.mark((x(interval.estimate), y), 3.75, face, edge=color, width=1.8)
    picture.text((WIDTH - 104.0, y), shown(interval.estimate, round), anchor="end", bold=True)
    picture.text((WIDTH - 2.0, y), words, MUTED, "end")


def _sound(interval: Interval, ratio: bool) -> bool:
    return math.isfinite(interval.estimate) and (interval.estimate > 0 or not ratio)
