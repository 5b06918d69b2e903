"""What a notebook shows of a run."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

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
