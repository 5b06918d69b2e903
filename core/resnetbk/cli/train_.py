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
@click.option("--device", default="", help="cpu or cuda; otherwise cuda where there is one.")
@click.pass_obj
def command(
    registry: Registry, spec: str, sets: tuple[str, ...], out: str | None, resume: bool, device: str
) -> None:
    """Trains the model that SPEC describes, measures it on held-out text, and lets it write."""
    from resnetbk.spec.read import read

    read_spec = read(spec, registry, sets)  # before torch is imported: mistakes answer at once

    from resnetbk.training.experiment import Experiment

    run = Experiment(read_spec, registry).train(out, resume=resume, device=device)

    from resnetbk.cli.results import print_results

    assert run.report is not None
    data = run.data()
    click.echo()
    print_results(read_spec.name, run.report.loss, data)
    prompt = data.text.valid[:200].decode(errors="ignore").partition("\n")[0] + "\n"
    click.echo("\nA sample, after the first line of the held-out text:\n")
    click.echo(click.style(prompt, dim=True), nl=False)
    write(run.generate(prompt, SAMPLE_TOKENS))
    folder = run.folder.path
    click.echo(f"\nRun: {folder}    More: resnetbk generate {folder} --prompt 'Return the '")
