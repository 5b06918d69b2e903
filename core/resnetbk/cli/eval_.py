"""`resnetbk eval RUN [--set data.corpus=...]`"""

from __future__ import annotations

import math

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.cli.device_option import device_option
from resnetbk.errors import NumericError, UserError
from resnetbk.registry.lookup import Registry


@click.command("eval")
@click.argument("run", type=click.Path())
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE",
    help="Override a key of the run's spec, for instance data.corpus; repeatable.",
)  # fmt: skip
@device_option
@json_option
@click.pass_obj
def command(registry: Registry, run: str, sets: tuple[str, ...], device: str, as_json: bool) -> None:
    """Evaluates RUN on all held-out text of its corpus, or of another."""
    import attrs

    from resnetbk.cli.results import command_hooks, print_results
    from resnetbk.training.run import Run

    for assignment in sets:
        if not assignment.startswith("data."):
            raise UserError(f"--set {assignment}: a trained model stays as it is; only data.* can change")
    loaded = Run.open(run, registry, sets, device)
    data = loaded.data()
    evaluation = loaded.evaluate(data)
    if not math.isfinite(evaluation.loss):
        raise NumericError(f"{run}: the held-out loss is {evaluation.loss}")
    if as_json:
        print_json(attrs.asdict(evaluation))
    else:
        hooks = command_hooks(registry)
        print_results(loaded.folder.path.name, evaluation, data, loaded.spec.data.corpus.name, hooks)
