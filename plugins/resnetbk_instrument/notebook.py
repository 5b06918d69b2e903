"""Pages and pictures in a notebook: `page("runs/quickstart")` as a cell's last line, also of a comparison or
ablation, and `plot(run)`."""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import Any

import attrs

from resnetbk.errors import UserError
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.run import Run
from resnetbk_instrument.pages.write import report_text, run_report_text
from resnetbk_instrument.results.comparison import Ablation, Comparison
from resnetbk_instrument.session.journal import run_or_result


@attrs.frozen
class Page:
    """A page that a notebook shows in a frame of its own, so that neither's style touches the other.

    html    the whole document
    result  of a comparison or an ablation; None for a run
    """

    html: str = attrs.field(repr=False)
    result: Comparison | Ablation | None = None
    height: int = 640

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {self.height}px; border: 0"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{style}"></iframe>'


def page(folder: Path | str) -> Page:
    """The page of a run, a comparison or an ablation, from the numbers in its folder.

    Raises UserError for a folder that is none, and without matplotlib; StorageError for a damaged one.
    """
    what = run_or_result(Path(folder))
    return Page(run_report_text(what)) if isinstance(what, RunFolder) else Page(report_text(what), what)


@attrs.frozen
class Plot:
    """A matplotlib `figure`, which a notebook shows once, whatever its backend."""

    figure: Any

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.figure.savefig(png, format="png", dpi=144)
        return png.getvalue()


def plot(run: Run) -> Plot:
    """Loss over steps, of batches and held out. Raises UserError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError('plot draws with matplotlib: pip install "resnetbk[plots]"') from None
    lines = run.folder.metrics()
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for event, label, style in (("step", "batches", "-"), ("evaluation", "held out", "o-")):
        points = [(line["step"], line["loss"]) for line in lines if line.get("event") == event]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, markersize=4, linewidth=1)
    axes.set(xlabel="step", ylabel="nats/token")
    axes.legend(frameon=False)
    return Plot(figure)
