"""Draws docs/words.svg: accuracy of trained runs over the length of words that they did not train on.

python docs/make_words.py runs/s3 runs/attention-6 runs/a5 ...

One panel for each group, a line for each run, named by its mixer and depth.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from make_pictures import STANDS_FOR, themed

import resnetbk

LONGEST = 1024
"""Elements of the words that are asked."""
COLORS = ("#2563eb", "#ea580c", "#16a34a", "#9333ea", "#ca8a04")  # legible on both papers


def accuracies(path: str) -> tuple[list[int], list[float], float]:
    """Ends of the groups of positions, the accuracy in each, and that of a constant guess."""
    run = resnetbk.open_run(path, sets=[f"data.corpus.valid_length={LONGEST}", "data.corpus.held_out=200"])
    groups = run.evaluate().groups
    task = run.data().text.task
    return [int(name.split()[-1]) for name in groups], list(groups.values()), task.constant_guess()[0]


def draw(paths: list[str]) -> Any:
    """The figure; a run's group and window are those of its spec."""
    runs: dict[str, list[str]] = {}
    for path in paths:
        runs.setdefault(resnetbk.open_run(path).spec.data.corpus.component.group, []).append(path)
    figure, panels = plt.subplots(
        1, len(runs), figsize=(3.2 * len(runs), 3), sharey=True, squeeze=False, layout="constrained"
    )
    ink = STANDS_FOR["ink"]
    colors: dict[str, str] = {}
    for axes, (group, of_group) in zip(panels[0], runs.items(), strict=True):
        for path in of_group:
            spec = resnetbk.open_run(path).spec
            signed = getattr(spec.model.mixer.component, "hopping", "fixed") == "signed"
            name = "signed " * signed + spec.model.mixer.name
            label = f"{name}, {spec.model.depth} layer{'s' * (spec.model.depth > 1)}"
            color = colors.setdefault(label, COLORS[len(colors) % len(COLORS)])
            ends, shares, guess = accuracies(path)
            axes.plot(ends, shares, "o-", color=color, ms=3, lw=1.4)
        axes.axhline(guess, color=STANDS_FOR["pale"], ls=":", lw=1)
        axes.text(1024, guess + 0.02, "a guess", color=ink, size=8, ha="right")
        axes.axvline(spec.data.window, color=STANDS_FOR["pale"], lw=0.8)
        axes.text(spec.data.window * 1.1, 0.42, "trained\nup to here", color=ink, size=8)
        axes.set(xscale="log", xticks=ends, xticklabels=ends, ylim=(0, 1.04), title=f"words of {group}")
        axes.minorticks_off()
        axes.set_xlabel("element of the word", color=ink)
    panels[0][0].set_ylabel("accuracy", color=ink)
    lines = [
        plt.Line2D([], [], color=color, marker="o", ms=3, label=label) for label, color in colors.items()
    ]
    figure.legend(
        handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=8,
        labelcolor=STANDS_FOR["text"],
    )  # fmt: skip
    return figure


def save(figure: Any, name: str) -> None:
    """In docs/, in the colours of the reader's theme."""
    for axes in figure.axes:
        axes.set_facecolor("none")
        axes.title.set(color=STANDS_FOR["text"], fontsize=10)
        axes.tick_params(colors=STANDS_FOR["ink"], labelsize=8)
        for spine in axes.spines.values():
            spine.set_color(STANDS_FOR["pale"])
    written = io.StringIO()
    figure.savefig(written, format="svg", dpi=200, metadata={"Date": None}, facecolor=STANDS_FOR["paper"])
    (Path(__file__).parent / f"{name}.svg").write_text(themed(written.getvalue()), encoding="utf-8")


if __name__ == "__main__":
    mpl.rcParams.update({"svg.hashsalt": "resnetbk", "svg.fonttype": "none", "font.family": "sans-serif"})
    save(draw(sys.argv[1:]), "words")
