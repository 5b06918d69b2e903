"""`resnetbk report RUN|COMPARISON [--out FILE]`"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from resnetbk.errors import ResnetbkError
from resnetbk.registry.lookup import Registry


@click.command("report")
@click.argument("folder", metavar="RUN|COMPARISON", type=click.Path(path_type=Path))
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False), help="Otherwise report.html in it.")
@click.pass_obj
def command(registry: Registry, folder: Path, out: str | None) -> None:
    """Makes the page of a run, a comparison or an ablation anew, from the numbers in its folder."""
    from resnetbk.runs.run_folder import RunFolder
    from resnetbk_instrument.pages.svg import need_matplotlib
    from resnetbk_instrument.pages.write import write_report, write_run_report
    from resnetbk_instrument.session.journal import run_or_result

    need_matplotlib()
    path = Path(out) if out else folder / "report.html"
    what = run_or_result(folder)
    if isinstance(what, RunFolder):
        write_run_report(what, path, _ngram_baseline(registry, what.path), through_links=bool(out))
    else:
        write_report(what, path, through_links=bool(out))
    click.echo(path)


def _ngram_baseline(registry: Registry, folder: Path) -> Mapping[int, float]:
    """On the run's text; nothing where the text is not here any more."""
    from resnetbk.training.run import Run
    from resnetbk_instrument.results.ngram_baseline import baseline_nats

    try:
        data = Run.open(folder, registry).data()
        return baseline_nats(data)
    except ResnetbkError as error:
        reason = str(error).splitlines()[0]
        click.echo(f"warning: the page has no n-gram baseline: {reason}", err=True)
        return {}
