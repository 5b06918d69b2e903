"""Draws docs/design-parts.svg and docs/design-trunk.svg.

python docs/make_pictures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).parent
INK = "#4a5568"
HUES = {"data": "#dbeafe", "policy": "#fde9c9", "work": "#d6f0dd", "plain": "#eceff4"}


def canvas(width: float, height: float) -> tuple[Any, Any]:
    """A figure in units of a tenth of an inch, white so that it reads on any page."""
    figure, axes = plt.subplots(figsize=(width / 10, height / 10))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return figure, axes


def box(axes: Any, x: float, y: float, width: float, height: float, text: str, hue: str) -> None:
    """Its lower left corner at (x, y); the first line of `text` is bold."""
    style = "round,pad=0,rounding_size=0.8"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, fc=HUES[hue], ec=INK, lw=0.8))
    head, _, rest = text.partition("\n")
    lift = 0.9 * rest.count("\n") + 0.9 if rest else 0
    middle = y + height / 2
    axes.text(
        x + width / 2, middle + lift, head, ha="center", va="center", size=9, weight="bold", color="#1a202c"
    )
    if rest:
        axes.text(x + width / 2, middle - 1.0, rest, ha="center", va="center", size=7.5, color="#2d3748")


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], text: str = "") -> None:
    """From start to end, with words beside its middle."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.1})
    if text:
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        pale = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(x, y, text, ha="center", va="center", size=7, color=INK, style="italic", bbox=pale)


def parts() -> Any:
    """What becomes of a spec."""
    figure, axes = canvas(96, 44)
    box(axes, 2, 30, 17, 10, "spec\nTOML: data alone,\nno code is named", "data")
    box(
        axes, 2, 5, 17, 14, "plugins\nmanifest: name, class,\nwhat it provides;\nclass: keys, build()", "data"
    )
    box(
        axes,
        28,
        17,
        17,
        14,
        "registry\nreads manifests,\nimports what a spec\nnames, checks promises",
        "plain",
    )
    box(axes, 54, 28, 17, 12, "model\nembedding, trunk, head;\npolicies decide,\nthe trunk executes", "work")
    box(axes, 54, 6, 17, 14, "training\nselector, strategy,\noptimizer; every cost\nis metered", "work")
    box(axes, 78, 28, 16, 12, "run folder\nlock, metrics,\ncheckpoints with\nsha256", "data")
    box(axes, 78, 6, 16, 14, "instrument\ncompare, ablate, tune:\ncost to the same\nheld-out loss", "plain")
    arrow(axes, (19, 35), (28, 27), "keys")
    arrow(axes, (19, 12), (28, 20), "entry point")
    arrow(axes, (45, 27), (54, 33), "assemble")
    arrow(axes, (45, 20), (54, 14), "build")
    arrow(axes, (62.5, 28), (62.5, 20))
    arrow(axes, (71, 17), (78, 30))
    arrow(axes, (71, 12), (78, 12), "trains")
    return figure


def trunk() -> Any:
    """One layer on the rows that are present, running and kept."""
    figure, axes = canvas(96, 40)
    rows = ("1", "1", "0", "1", "0", "0", "1", "1")
    for i, bit in enumerate(rows):
        kept = bit == "1"
        hue = "work" if kept else "plain"
        y = 33 - 3.6 * i
        box(axes, 3, y, 7, 2.8, f"row {i}", hue)
        box(axes, 86, y, 7, 2.8, f"row {i}", hue)
        if not kept:
            axes.annotate(
                "", (86, y + 1.4), (10, y + 1.4),
                arrowprops={"arrowstyle": "-|>", "color": "#a0aec0", "lw": 0.8, "ls": (0, (4, 3))},
                zorder=0,
            )  # fmt: skip
    for place, i in enumerate(i for i, bit in enumerate(rows) if bit == "1"):
        y, packed = 34.4 - 3.6 * i, 29 - 3.6 * place
        box(axes, 32, packed, 7, 2.8, f"row {i}", "work")
        arrow(axes, (10, y), (32, packed + 1.4))
        arrow(axes, (39, packed + 1.4), (49, packed + 1.4))
        arrow(axes, (64, packed + 1.4), (86, y))
    box(axes, 49, 13, 15, 19, "layer\nsequence mixer,\nchannel mixer:\non 5 rows of 8", "work")
    axes.text(
        21, 38, "halting and gate decide, from rows at or before each", ha="center", size=7.5, color=INK
    )
    axes.text(56.5, 38, "what is not handed over is not computed", ha="center", size=7.5, color=INK)
    axes.text(
        48, 3, "rows left out pass, or are filled in from rows before them", ha="center", size=7.5, color=INK
    )
    return figure


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "resnetbk"
    for name, figure in (("design-parts", parts()), ("design-trunk", trunk())):
        figure.savefig(HERE / f"{name}.svg", metadata={"Date": None}, facecolor="white")
