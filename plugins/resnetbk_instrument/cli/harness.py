"""`resnetbk harness RUN --tasks NAMES [--json]`"""

from __future__ import annotations

import contextlib
import sys

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.cli.device_option import device_option
from resnetbk.errors import UserError, one_line
from resnetbk.registry.lookup import Registry
from resnetbk_instrument.cli.one_process import OneProcess


@click.command("harness", cls=OneProcess)
@click.argument("run", type=click.Path())
@click.option("--tasks", required=True, metavar="A,B", help="Names of the harness, or of files in --include.")
@click.option(
    "--include", type=click.Path(exists=True, file_okay=False), metavar="DIR", help="Tasks of your own."
)
@click.option("--shots", type=click.IntRange(0), metavar="N", help="Examples before each question.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only so many questions of each task.")
@click.option("--max-length", type=click.IntRange(1), metavar="N", help="Otherwise the window of the spec.")
@device_option
@json_option
@click.pass_obj
def command(
    registry: Registry,
    run: str,
    tasks: str,
    include: str | None,
    shots: int | None,
    limit: int | None,
    max_length: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Evaluates RUN on tasks of lm-evaluation-harness. Its own tasks come from the hub; those in a folder of
    yours need no network."""
    try:
        import lm_eval
        from lm_eval.tasks import TaskManager
        from lm_eval.utils import make_table
    except ImportError:
        raise UserError('harness: needs the package lm_eval: pip install "resnetbk[harness]"') from None
    from resnetbk.training.run import Run
    from resnetbk_instrument.harness import HarnessModel

    model = HarnessModel(Run.open(run, registry, device=device), max_length=max_length)
    with contextlib.redirect_stdout(sys.stderr):  # where its remarks are no result
        try:
            manager = TaskManager(include_path=include)
            results = lm_eval.simple_evaluate(
                model=model, tasks=tasks.split(","), num_fewshot=shots, limit=limit, task_manager=manager,
                log_samples=False,
            )  # fmt: skip
        except (KeyError, ValueError, ConnectionError) as error:
            raise UserError(f"harness: {one_line(error)}") from error
    assert results is not None
    if as_json:
        print_json({"run": run, "results": results["results"], "versions": results["versions"]})
    else:
        click.echo(make_table(results))
