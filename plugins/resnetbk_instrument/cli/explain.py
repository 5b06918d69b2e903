"""`resnetbk explain RUN --text FILE [--out PAGE.html] [--json]`"""

from __future__ import annotations

from pathlib import Path

import click

from resnetbk.cli.as_json import print_json
from resnetbk.cli.device_option import device_option
from resnetbk.registry.lookup import Registry
from resnetbk_instrument.cli.one_process import OneProcess

MOST = 64 << 20
"""Bytes of a text that are read: more than a page can show."""


@click.command("explain", cls=OneProcess)
@click.argument("run", type=click.Path())
@click.option(
    "--text", "source", required=True, metavar="FILE", help="What the run shall read.",
    type=click.Path(exists=True, dir_okay=False),
)  # fmt: skip
@click.option(
    "--out", metavar="PAGE.html", help="Otherwise explain.html in the run's folder.",
    type=click.Path(dir_okay=False),
)  # fmt: skip
@device_option
@click.option("--json", "as_json", is_flag=True, help="The numbers, for scripts; a page only with --out.")
@click.pass_obj
def command(registry: Registry, run: str, source: str, out: str | None, device: str, as_json: bool) -> None:
    """Shows what the trained RUN spends where on a text: the layers that ran for each token, the rows that
    each layer computed, and what that has to do with the loss."""
    from resnetbk.files import opened, replace_file, replace_own_file
    from resnetbk.training.run import Run
    from resnetbk_instrument.pages.explain import explain_page
    from resnetbk_instrument.profile import explain as numbers

    with opened(Path(source)) as file:
        text = file.read(MOST)
        if file.read(1):
            click.echo(f"{source}: only the first {MOST >> 20} MiB are read", err=True)
    loaded = Run.open(run, registry, device=device)
    explanation = numbers.explain(loaded, text, source)
    if explanation.left_out:
        count = len(explanation.pieces)
        total = count + explanation.left_out
        click.echo(f"{source}: only the first {count:,} of its {total:,} tokens are read", err=True)
    if out or not as_json:
        path = Path(out) if out else loaded.folder.path / "explain.html"
        page = explain_page(explanation).encode()
        if out:
            replace_file(path, page, parents=True)
        else:  # in a folder that may be a stranger's
            replace_own_file(path, page)
        if not as_json:
            click.echo(path)
    if as_json:
        print_json(numbers.as_json(explanation))
