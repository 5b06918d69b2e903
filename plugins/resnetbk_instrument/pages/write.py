"""Reports: one HTML file that says all there is to say, and needs nothing else to be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from resnetbk.files import replace_file, replace_own_file
from resnetbk.runs.run_folder import RunFolder
from resnetbk_instrument.pages.svg import need_matplotlib
from resnetbk_instrument.results.comparison import Ablation, Comparison


def report_text(result: Comparison | Ablation) -> str:
    """The page of a comparison or an ablation: the same text for the same numbers. Raises UserError without
    matplotlib."""
    need_matplotlib()
    from resnetbk_instrument.pages.ablation import ablation_page
    from resnetbk_instrument.pages.comparison import comparison_page

    return ablation_page(result) if isinstance(result, Ablation) else comparison_page(result)


def run_report_text(folder: RunFolder, ngram_baseline: Mapping[int, float] | None = None) -> str:
    """The page of a run from what its folder says, finished or not.

    ngram_baseline  nats/token of n-gram counts by order, where they are known
    Raises UserError without matplotlib or where there is no run, StorageError for a damaged one.
    """
    need_matplotlib()
    from resnetbk_instrument.pages.run import run_page

    return run_page(folder, ngram_baseline or {})


def write_report(result: Comparison | Ablation, path: Path, *, through_links: bool = False) -> None:
    """`report_text` in a file. Raises StorageError, too, when `path` cannot be written.

    through_links: whether `path` is the user's own, where a link stays a link; else it is replaced
    """
    _write(report_text(result), path, through_links)


def write_run_report(
    folder: RunFolder,
    path: Path,
    ngram_baseline: Mapping[int, float] | None = None,
    *,
    through_links: bool = False,
) -> None:
    """`run_report_text` in a file, as `write_report`."""
    _write(run_report_text(folder, ngram_baseline), path, through_links)


def _write(text: str, path: Path, through_links: bool) -> None:
    if through_links:
        replace_file(path, text.encode(), parents=True)
    else:  # in a folder that may be a stranger's
        replace_own_file(path, text.encode())
