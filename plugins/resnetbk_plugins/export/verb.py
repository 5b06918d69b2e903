"""`resnetbk export RUN --to hf|torch DIR`"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry

FORMATS = ("hf", "torch")


@click.command("export")
@click.argument("run", type=click.Path())
@click.option(
    "--to", "target", nargs=2, metavar="hf|torch DIR", required=True,
    help="hf: a folder that transformers' AutoModelForCausalLM opens (extra hf). torch: the weights as "
    "safetensors. DIR is made.",
)  # fmt: skip
@click.pass_obj
def command(registry: Registry, run: str, target: tuple[str, str]) -> None:
    """Writes the model of RUN, at its latest checkpoint, to a new folder that others can use."""
    form, folder = target[0], Path(target[1])
    if form not in FORMATS:
        raise UserError(f"--to: unknown format {form!r}; allowed: {', '.join(FORMATS)}: --to hf DIR")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; give a folder that is new or empty")
    if form == "hf" and not find_spec("transformers"):
        raise UserError('--to hf: needs the package transformers: pip install "resnetbk[hf]"')

    from resnetbk.training.run import Run
    from resnetbk_plugins.export.folders import write_hf, write_torch

    (write_hf if form == "hf" else write_torch)(Run.open(run, registry), folder)
    click.echo(folder)
