"""What a notebook shows of a run."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from resnetbk.errors import UserError

Line = Mapping[str, Any]


def frame(lines: Sequence[Line]) -> Any:
    """A pandas DataFrame of the lines where pandas is installed, else the lines."""
    try:
        import pandas
    except ImportError:
        return lines
    return pandas.DataFrame(lines)


def table(name: str, about: Mapping[str, str], lines: Sequence[Line]) -> str:
    """HTML: what a run is, and how it ended if it did."""
    rows = dict(about)
    if end := next((line for line in reversed(lines) if line.get("event") == "finished"), None):
        rows |= {"steps": f"{end['step']:,}", "held-out loss, nats/token": f"{end['loss']:.4f}"}
        rows["bits/byte"] = f"{end['bits_per_byte']:.4f}"
        if end.get("accuracy") is not None:
            rows["accuracy"] = f"{end['accuracy']:.4f}"
        rows["seconds of training"] = f"{end['seconds']:.1f}"
    cells = "".join(f"<tr><th>{key}</th><td>{html.escape(value)}</td></tr>" for key, value in rows.items())
    return f"<table><caption>{html.escape(name)}</caption>{cells}</table>"


@attrs.frozen
class Plot:
    """A matplotlib `figure`, which a notebook shows once, whatever its backend."""

    figure: Any

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.figure.savefig(png, format="png", dpi=144)
        return png.getvalue()


def curves(lines: Sequence[Line]) -> Plot:
    """Loss over steps, of batches and held out. Raises UserError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError('plot draws with matplotlib: pip install "resnetbk[plots]"') from None
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for event, label, style in (("step", "batches", "-"), ("evaluation", "held out", "o-")):
        points = [(line["step"], line["loss"]) for line in lines if line.get("event") == event]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, markersize=4, linewidth=1)
    axes.set(xlabel="step", ylabel="nats/token")
    axes.legend(frameon=False)
    return Plot(figure)
