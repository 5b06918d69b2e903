"""Pages in a notebook: `page("runs/quickstart")` as a cell's last line, also of a comparison or ablation."""

from __future__ import annotations

import html
from pathlib import Path

import attrs

from resnetbk.runs.run_folder import RunFolder
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
