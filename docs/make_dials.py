"""Draws docs/dials.svg, the curves of docs/results/dials.toml: what is saved over the dial of a task.

python docs/make_dials.py
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from make_pictures import STANDS_FOR
from make_words import COLORS, save

NUMBERS = Path(__file__).parent / "results" / "dials.toml"
COLUMNS = 2


def panel(axes: Any, numbers: dict[str, Any]) -> None:
    """One dial: a curve for each comparison, with 95 % intervals; an arrow on a lower bound."""
    ink, pale = STANDS_FOR["ink"], STANDS_FOR["pale"]
    places = [str(place) for place in numbers["places"]]
    for number, (name, curve) in enumerate(numbers["saved"].items()):
        color = COLORS[number]
        at = [places.index(str(place)) + 0.06 * number for place, *_ in curve]
        middle, low, high = zip(*(ends for _, *ends in curve), strict=True)
        axes.plot(at, middle, "o-", color=color, ms=3, lw=1.4, label=name)
        axes.vlines(at, low, [min(end, numbers["most"]) for end in high], color=color, lw=1)
        for x, y, end in zip(at, middle, high, strict=True):
            if end == float("inf"):
                axes.annotate(
                    "", (x, numbers["most"]), (x, y), arrowprops={"arrowstyle": "->", "color": color}
                )
    axes.axhline(1, color=pale, lw=0.8)
    if claim := numbers.get("claim"):
        axes.axhline(claim, color=pale, ls=":", lw=1)
        axes.text(len(places) - 0.55, claim * 1.04, "claim", color=ink, size=7, ha="right")
    axes.set(yscale="log", title=numbers["title"], ylim=(numbers["least"], numbers["most"]))
    axes.set(xticks=range(len(places)), xticklabels=places, xlim=(-0.4, len(places) - 0.5))
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 4, 8, 16, 32) if numbers["least"] <= tick <= numbers["most"]]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(numbers["dial"], color=ink, size=8)
    if len(numbers["saved"]) > 1:
        axes.legend(frameon=False, fontsize=7, labelcolor=STANDS_FOR["text"], loc="upper left")


def draw(panels: list[dict[str, Any]]) -> Any:
    rows = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(6, 2.3 * rows), squeeze=False, layout="constrained")
    for one, numbers in zip(axes.flat, panels, strict=False):
        panel(one, numbers)
    for one in axes.flat[len(panels) :]:
        one.set_axis_off()
    figure.supylabel("times fewer FLOPs than the plain model", color=STANDS_FOR["ink"], size=9)
    return figure


if __name__ == "__main__":
    mpl.rcParams.update({"svg.hashsalt": "resnetbk", "svg.fonttype": "none", "font.family": "sans-serif"})
    save(draw(tomllib.loads(NUMBERS.read_text(encoding="utf-8"))["panel"]), "dials")
