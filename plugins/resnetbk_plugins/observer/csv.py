"""Observer `csv`: every step and evaluation as a row of metrics.csv in the run's folder."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import attrs

from resnetbk.files import read_file, replace_own_file
from resnetbk_plugins.observer.scalars import Scalars

COLUMNS = (
    "step", "train/loss", "train/rate", "train/gradient_norm", "train/tokens", "train/seconds",
    "train/flops", "train/layers", "valid/loss", "valid/bits_per_byte", "valid/accuracy",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class CSV:
    """metrics.csv, for a spreadsheet: a row for each step, and one for each evaluation. A run that goes on
    drops the rows of steps that it does again."""

    def build(self, *, folder: Path, spec: Any) -> Rows:
        return Rows(folder / "metrics.csv")


class Rows(Scalars):
    """Adds each row at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = False

    def log(self, step: int, numbers: dict[str, float]) -> None:
        if not self.begun:
            self._begin(step)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_line([step, *(numbers.get(name, "") for name in COLUMNS[1:])]))

    def _begin(self, step: int) -> None:
        rows: list[list[str]] = []
        if self.path.exists():
            text = read_file(self.path).decode("utf-8", "replace")
            rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0].isdigit()]
        kept = [row for row in rows if int(row[0]) < step]
        replace_own_file(self.path, "".join(map(_line, [COLUMNS, *kept])).encode())
        self.begun = True


def _line(cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
