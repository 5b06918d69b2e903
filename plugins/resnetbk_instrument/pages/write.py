"""Reports: one HTML file that says all there is to say, and needs nothing else to be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from resnetbk.files import replace_file, replace_own_file
from resnetbk.runs.run_folder import RunFolder
from resnetbk_instrument.pages.svg import need_matplotlib
from resnetbk_instrument.results.comparison import Ablation, Comparison


def write_report(result: Comparison | Ablation, path: Path, *, through_links: bool = False) -> None:
    """The page of a comparison or an ablation: the same bytes for the same numbers.

    Raises UserError without matplotlib, StorageError when `path` cannot be written.
    """
    need_matplotlib()
    from resnetbk_instrument.pages.ablation import ablation_page
    from resnetbk_instrument.pages.comparison import comparison_page

    text = ablation_page(result) if isinstance(result, Ablation) else comparison_page(result)
    _write(text, path, through_links)


def write_run_report(
    folder: RunFolder,
    path: Path,
    ngram_baseline: Mapping[int, float] | None = None,
    *,
    through_links: bool = False,
) -> None:
    """The page of a run from what its folder says, finished or not.

    through_links   whether `path` is the user's own, where a link stays a link; else it is replaced
    ngram_baseline  nats/token of n-gram counts by order, where they are known
    Raises UserError without matplotlib or where there is no run, StorageError for a damaged one.
    """
    need_matplotlib()
    from resnetbk_instrument.pages.run import run_page

    _write(run_page(folder, ngram_baseline or {}), path, through_links)


def _write(text: str, path: Path, through_links: bool) -> None:
    if through_links:
        replace_file(path, text.encode(), parents=True)
    else:  # in a folder that may be a stranger's
        replace_own_file(path, text.encode())
