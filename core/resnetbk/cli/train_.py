"""`resnetbk train SPEC [--set k=v] [--out DIR] [--resume | --auto-resume] [--locked] [--json]`"""

from __future__ import annotations

import gc
import shlex
from typing import TYPE_CHECKING, Any

import attrs
import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.cli.device_option import device_option
from resnetbk.registry.lookup import Registry
from resnetbk.whole_process import part, rest

if TYPE_CHECKING:
    from resnetbk.training.data import Data
    from resnetbk.training.run import Run


@click.command("train")
@click.argument("spec", type=click.Path())
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")
@click.option("--out", metavar="DIR", help="The run folder; otherwise a new one under runs/.")
@click.option("--resume", is_flag=True, help="Continue from the folder's latest checkpoint.")
@click.option("--auto-resume", is_flag=True, help="As --resume; begins where there is no run yet.")
@click.option("--locked", is_flag=True, help="Refuse unless everything is as in the lock beside SPEC.")
@device_option
@json_option
@click.pass_obj
def command(
    registry: Registry,
    spec: str,
    sets: tuple[str, ...],
    out: str | None,
    resume: bool,
    auto_resume: bool,
    locked: bool,
    device: str,
    as_json: bool,
) -> None:
    """Trains the model that SPEC describes, evaluates it on held-out text, and prints a sample."""
    from resnetbk.lock.lock import lock_path, read_held
    from resnetbk.spec.read import read
    from resnetbk.training.signals import end_at_once

    end_at_once()
    # before torch is imported: mistakes answer at once
    held_to = lock_path(spec) if locked else None
    read_spec = read_held(spec, held_to, registry, sets) if held_to else read(spec, registry, sets)

    gc.disable()  # imports leave nothing to collect, and much to look through
    from resnetbk.training.experiment import Experiment

    gc.freeze()
    gc.enable()
    rest("imports")
    experiment = Experiment(read_spec, registry)
    run = experiment.train(out, resume="auto" if auto_resume else resume, device=device, locked=held_to)
    click.get_current_context().call_on_close(gc.enable)
    gc.disable()  # what follows imports again, and is short

    from resnetbk.cli.results import command_hooks, print_results
    from resnetbk.training.processes import Processes

    if not Processes.here().first:
        return

    assert run.report is not None
    if as_json:
        print_json({**attrs.asdict(run.report), "whole_process": _record(run)})
        return
    data, report, hooks = run.data(), run.report, command_hooks(registry)
    with part("report"):  # before anything is printed: whoever reads may leave
        lines = list(filter(None, hooks.resnetbk_trained(run=run, data=data)))
    click.echo()
    print_results(run.folder.path.name, report, data, read_spec.data.corpus.name, hooks)
    click.echo(
        f"\n{report.parameters:,} parameters, {report.steps:,} steps, {report.tokens:,} tokens in "
        f"{report.seconds:.0f} s: {report.tokens / report.seconds:,.0f} tokens/s in {report.precision}"
    )
    if cost := report.parents_cost:
        click.echo(f"It builds on runs that took {cost['seconds']:.0f} s and {cost['tokens']:,.0f} tokens")
    for line in lines:
        click.echo(f"\n{line}")
    if not data.text.task:
        _print_sample(run, data)
    parts = _record(run)
    said = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    click.echo(f"\nwhole process {sum(parts.values()):.1f} s: {said}")


def _print_sample(run: Run, data: Data) -> None:
    from resnetbk.cli.results import write
    from resnetbk.terminal import harmless

    start = data.tokenizer.decode(data.valid[:200].tolist())[:200]
    first, line_break, _ = start.decode(errors="ignore").partition("\n")
    click.echo("\nIt goes on from the first line of the held-out text:\n")
    click.echo(click.style(harmless(first) + line_break, dim=True), nl=False)
    with part("sample"):
        write(run.generate(first + line_break))
    click.echo(f"\nMore of it: resnetbk generate {shlex.quote(str(run.folder.path))} --prompt TEXT")


def _record(run: Any) -> dict[str, float]:
    """The seconds of each part of the whole process so far; they are also added to the run's metrics."""
    parts = rest("other")
    if "steps" in parts and run.folder.metrics_file.exists():
        run.folder.append_metrics({"event": "process", "seconds": parts})
    return parts
