"""`resnetbk train SPEC [--set k=v] [--out DIR] [--resume]`"""

from __future__ import annotations

import click

from resnetbk.cli.writing import write
from resnetbk.registry.lookup import Registry

SAMPLE_TOKENS = 400


@click.command("train")
@click.argument("spec")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")
@click.option("--out", metavar="DIR", help="The run folder; otherwise a new one under runs/.")
@click.option("--resume", is_flag=True, help="Go on from the folder's latest checkpoint.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Otherwise cuda where there is one.")
@click.pass_obj
def command(
    registry: Registry, spec: str, sets: tuple[str, ...], out: str | None, resume: bool, device: str | None
) -> None:
    """Trains the model that SPEC describes, measures it on held-out text, and lets it write."""
    from resnetbk.spec.read import read

    read_spec = read(spec, registry, sets)  # before torch is imported: mistakes answer at once

    from resnetbk.training.experiment import Experiment

    run = Experiment(read_spec, registry).train(out, resume=resume, device=device or "")

    from resnetbk.cli.results import print_results

    assert run.report is not None
    data, report = run.data(), run.report
    click.echo()
    print_results(run.folder.path.name, report.loss, data, read_spec.data.corpus.name)
    click.echo(
        f"\n{report.parameters:,} parameters, {report.steps:,} steps, {report.tokens:,} tokens in "
        f"{report.seconds:.0f} s: {report.tokens / report.seconds:,.0f} tokens/s"
    )
    first, line_break, _ = data.text.valid[:200].decode(errors="ignore").partition("\n")
    click.echo("\nIt goes on from the first line of the held-out text:\n")
    click.echo(click.style(first + line_break, dim=True), nl=False)
    write(run.generate(first + line_break, SAMPLE_TOKENS))
    click.echo(f"\nMore of it: resnetbk generate {run.folder.path} --prompt TEXT")
