"""Pictures of a line a thing: estimates with their intervals, and what costs consist of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from resnetbk_instrument.pages import svg as report_svg
from resnetbk_instrument.pages.numbers import Rounding, Unit, certain, digits, shares, spread
from resnetbk_instrument.pages.svg import INK, MUTED, PAPER, PHASES, WIDTH, cut, hue, phase_color, phase_index
from resnetbk_instrument.results.comparison import Interval
from resnetbk_instrument.results.costs import COSTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    name: str,
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

    def draw(figure: Figure) -> None:
        letters = max(len(estimate.text) for group in kept for estimate in group.estimates)
        axes = report_svg.axes(figure, 6.0 + 6.3 * letters, 148.0, below - 6.0, 2.0)
        if ratio:
            low, high = report_svg.widened(min(reach), max(reach), 0.09)
            axes.set_xscale("log")
            ticks = report_svg.log_ticks(low, high, fewest=2)[:6]
        else:
            room = 0.09 * (max(reach) - min(reach)) or 0.01
            low, high = min(reach) - room, max(reach) + room
            ticks = report_svg.even_ticks(low, high, most=3)  # words like +0.250 are wide
        axes.set_xlim(low, high)
        axes.set_ylim(height - below + 4.0, 0.0)
        report_svg.set_ticks(axes.xaxis, ticks, lambda tick: f"{tick:g}×" if ratio else shown(tick, round))
        axes.set_xlabel("log scale" if ratio else "")
        axes.set_yticks([])
        axes.grid(axis="x")
        top = 0.0
        for group in kept:
            place = 1 - (top + _ROW / 2 + 2) / height
            color, said = hue(group.hue), cut(group.heading)
            heading = figure.text(2 / WIDTH, place, said, color=color, weight="bold", va="center")
            report_svg.halo(heading)
            figure.text(1 - 2 / WIDTH, place, group.note, color=MUTED, ha="right", va="center")
            axes.vlines(middle, top + _ROW, top + _ROW * (1 + len(group.estimates)), color=INK, linewidth=1.2)
            for estimate in group.estimates:
                top += _ROW
                _estimate(figure, axes, height, top + _ROW / 2, color, estimate, shown)
            top += _ROW + _GAP

    return report_svg.svg(name, label, height, draw)


def _bars(rows: Sequence[tuple[str, int, Mapping[str, float]]], names: Sequence[str]) -> str:
    """A bar a row, whose parts have the colours of their places in `names`."""
    totals = [sum(parts.values()) for _, _, parts in rows]
    unit, height = Unit.of(COSTS["seconds"].units, totals), _BAR * len(rows) + 4.0

    def draw(figure: Figure) -> None:
        axes = report_svg.axes(figure, 2.0, 2.0, 2.0, 2.0)
        axes.set_xlim(0.0, max(totals))
        axes.set_ylim(height - 4.0, 0.0)
        axes.axis("off")
        for number, ((text, color, parts), total) in enumerate(zip(rows, totals, strict=True)):
            top, place = _BAR * number, 1 - (_BAR * number + 13) / height
            figure.text(2 / WIDTH, place, cut(text), color=hue(color), weight="bold", va="center")
            figure.text(1 - 2 / WIDTH, place, unit.full(total), ha="right", va="center")
            at = 0.0
            for (part, value), percent in zip(parts.items(), shares(list(parts.values())), strict=True):
                if part not in names:
                    continue
                place = names.index(part)
                axes.barh(
                    top + 34.0, value, height=22.0, left=at, color=phase_color(place), edgecolor=PAPER,
                    linewidth=1.0,
                )  # fmt: skip
                share, wide = f"{percent} %", (WIDTH - 4.0) * value / max(totals)
                said = next((s for s in (f"{part} {share}", share) if 6.6 * len(s) + 8 < wide), "")
                axes.text(
                    at + value / 2, top + 34.0, said, ha="center", va="center", fontsize=10,
                    color=INK if phase_index(place) == PHASES - 1 else PAPER,  # the last is near to paper
                )  # fmt: skip
                at += value

    return report_svg.svg("phases", "Time by phase", height, draw)


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
    figure: Figure,
    axes: Axes,
    height: float,
    y: float,
    color: str,
    estimate: Estimate,
    shown: Callable[[float, Rounding], str],
) -> None:
    """One line of a forest plot, its middle `y` below the top of the axes."""
    interval, place = estimate.interval, 1 - (y + 2) / height
    figure.text(2 / WIDTH, place, estimate.text, color=MUTED, va="center")
    if certain(interval):
        axes.plot([max(interval.low, axes.get_xlim()[0]), interval.high], [y, y], color=color, linewidth=2.2)
    words = spread(interval, shown) or ("one pair" if interval.n == 1 else "no interval")
    face = PAPER if estimate.hollow else color
    axes.plot(
        [interval.estimate], [y], "o", markersize=7.5, markerfacecolor=face, markeredgecolor=color,
        markeredgewidth=1.8,
    )  # fmt: skip
    figure.text(
        1 - 104 / WIDTH, place, shown(interval.estimate, round), ha="right", va="center", weight="bold"
    )
    figure.text(1 - 2 / WIDTH, place, words, ha="right", va="center", color=MUTED)


def _sound(interval: Interval, ratio: bool) -> bool:
    return math.isfinite(interval.estimate) and (interval.estimate > 0 or not ratio)
