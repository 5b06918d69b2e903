"""Draws docs/design-parts.svg and docs/design-trunk.svg, narrow enough for a phone, for a light and a dark
theme.

python docs/make_pictures.py
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).parent
LIGHT = {"paper": "#ffffff", "text": "#1a202c", "ink": "#4a5568", "pale": "#8592a6"}
LIGHT |= {"data": "#dbeafe", "work": "#d6f0dd", "plain": "#eceff4"}
DARK = {"paper": "#1e2129", "text": "#e6e9ed", "ink": "#a9b4c3", "pale": "#76829a"}
DARK |= {"data": "#1d3a63", "work": "#1d4a30", "plain": "#363c49"}
# matplotlib wants real colours: each stands for a name until the picture is written
STANDS_FOR = {name: f"#fe02{number:02x}" for number, name in enumerate(LIGHT)}
WIDTH = 50


def canvas(height: float) -> tuple[Any, Any]:
    """A figure WIDTH wide, in units of a tenth of an inch."""
    figure, axes = plt.subplots(figsize=(WIDTH / 10, height / 10))
    axes.set(xlim=(0, WIDTH), ylim=(0, height), aspect="equal")
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return figure, axes


def words(axes: Any, x: float, y: float, text: str, **more: Any) -> None:
    """About (x, y)."""
    color = STANDS_FOR[more.pop("color", "text")]
    axes.text(x, y, text, **{"ha": "center", "va": "center", "size": 9, "color": color, **more})


def box(axes: Any, x: float, y: float, width: float, height: float, text: str, color: str) -> None:
    """Its lower left corner at (x, y); the first line of `text` is bold."""
    style = "round,pad=0,rounding_size=0.8"
    face, edge = STANDS_FOR[color], STANDS_FOR["ink"]
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, fc=face, ec=edge, lw=0.8))
    head, *rest = text.split("\n")
    middle = y + height / 2 + 0.85 * len(rest)
    words(axes, x + width / 2, middle, head, size=10, weight="bold")
    for number, line in enumerate(rest, 1):
        words(axes, x + width / 2, middle - 1.7 * number, line)


def arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], text: str = "", **style: Any
) -> None:
    """From start to end, with words beside its middle."""
    props = {"arrowstyle": "-|>", "color": STANDS_FOR["ink"], "lw": 1.1, "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", end, start, arrowprops=props, zorder=0)
    if text:
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        behind = {"facecolor": STANDS_FOR["paper"], "edgecolor": "none", "pad": 1.5}
        words(axes, x, y, text, color="ink", style="italic", bbox=behind)


def parts() -> Any:
    """What becomes of a spec."""
    figure, axes = canvas(60)
    box(axes, 1, 49, 22, 10, "spec\nTOML: data alone,\nno code is named", "data")
    box(
        axes,
        27,
        49,
        22,
        10,
        "plugins\nmanifest: name, class,\nwhat it provides;\nclass: keys, build()",
        "data",
    )
    box(
        axes,
        14,
        33,
        22,
        10,
        "registry\nreads manifests,\nimports what a spec\nnames, checks promises",
        "plain",
    )
    box(axes, 1, 17, 22, 10, "model\nembedding, trunk, head;\npolicies decide,\nthe trunk executes", "work")
    box(axes, 27, 17, 22, 10, "training\nselector, strategy,\noptimizer; every cost\nis metered", "work")
    box(axes, 1, 1, 22, 10, "run folder\nlock, metrics,\ncheckpoints with\nsha256", "data")
    box(axes, 27, 1, 22, 10, "instrument\ncompare, ablate, tune:\ncost to the same\nheld-out loss", "plain")
    arrow(axes, (12, 49), (20, 43), "keys")
    arrow(axes, (38, 49), (30, 43), "entry point")
    arrow(axes, (20, 33), (12, 27), "assemble")
    arrow(axes, (30, 33), (38, 27), "build")
    arrow(axes, (23, 22), (27, 22))
    arrow(axes, (32, 17), (18, 11), "writes")
    arrow(axes, (41, 11), (41, 17), "trains")
    return figure


def trunk() -> Any:
    """One layer on the rows that are present, running and kept."""
    figure, axes = canvas(46)
    rows = (1, 1, 0, 1, 0, 0, 1, 1)
    kept = [number for number, bit in enumerate(rows) if bit]
    for number, bit in enumerate(rows):
        y = 36 - 4 * number
        for x in (1, 42):
            box(axes, x, y, 7, 3, f"row {number}", "work" if bit else "plain")
        if not bit:
            dashes = {"color": STANDS_FOR["pale"], "lw": 0.8, "ls": (0, (4, 3))}
            arrow(axes, (8, y + 1.5), (42, y + 1.5), **dashes)
    for place, number in enumerate(kept):
        y, packed = 37.5 - 4 * number, 30 - 4 * place
        box(axes, 14, packed, 7, 3, f"row {number}", "work")
        arrow(axes, (8, y), (14, packed + 1.5))
        arrow(axes, (21, packed + 1.5), (25, packed + 1.5))
        arrow(axes, (37, packed + 1.5), (42, y))
    box(axes, 25, 13, 12, 21, "layer\nsequence mixer,\nchannel mixer:\non 5 rows of 8", "work")
    words(axes, 12, 43, "halting and gate decide,\nfrom rows at or before each", color="ink")
    words(axes, 38, 43, "what is not handed over\nis not computed", color="ink")
    words(axes, 25, 3, "rows left out pass, or are filled in from rows before them", color="ink")
    return figure


def themed(svg: str) -> str:
    """The picture with the colours of the reader's theme. It has paper of its own: the page around it may
    have the other theme."""
    for name, color in STANDS_FOR.items():
        svg = svg.replace(color, f"var(--{name})")
    light, dark = (
        "".join(f"--{name}: {color}; " for name, color in theme.items()) for theme in (LIGHT, DARK)
    )
    style = f"svg {{ {light}}}\n@media (prefers-color-scheme: dark) {{ svg {{ {dark}}} }}\n"
    return svg.replace('<style type="text/css">', f'<style type="text/css">\n{style}')


if __name__ == "__main__":
    mpl.rcParams.update({"svg.hashsalt": "resnetbk", "svg.fonttype": "none", "font.family": "sans-serif"})
    for name, figure in (("design-parts", parts()), ("design-trunk", trunk())):
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None}, facecolor=STANDS_FOR["paper"])
        (HERE / f"{name}.svg").write_text(themed(written.getvalue()), encoding="utf-8")
