"""What the instrument adds to `train` and `eval`: the n-gram baseline, and the page of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click

from resnetbk.errors import ResnetbkError
from resnetbk.hooks import hookimpl
from resnetbk.training.data import Data
from resnetbk.training.run import Run
from resnetbk_instrument.pages import svg
from resnetbk_instrument.results.ngram_baseline import baseline_nats, gram_name


@hookimpl
def resnetbk_baselines(data: Data) -> Mapping[str, float]:
    return {f"{gram_name(order)} counts": nats for order, nats in baseline_nats(data).items()}


@hookimpl
def resnetbk_trained(run: Run, data: Data) -> str | None:
    """Writes report.html, or says what that takes without matplotlib. It matters less than the run."""
    if not svg.has_matplotlib():
        again = f"resnetbk report {shlex.quote(str(run.folder.path))}"
        return f"For a page of it: {svg.INSTALL}, then {again}"
    from resnetbk_instrument.pages.write import write_run_report

    page = run.folder.path / "report.html"
    try:
        write_run_report(run.folder, page, baseline_nats(data))  # remembered since the table
    except ResnetbkError as error:
        click.echo(f"\nwarning: there is no report: {error}", err=True)
        return None
    return f"Report: {page}"
