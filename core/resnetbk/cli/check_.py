"""`resnetbk check SPEC...`"""

from __future__ import annotations

import click

from resnetbk.errors import Mistake, UserError, printable
from resnetbk.registry.lookup import Registry


@click.command("check")
@click.argument("specs", nargs=-1, required=True)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")
@click.pass_obj
def command(registry: Registry, specs: tuple[str, ...], sets: tuple[str, ...]) -> None:
    """Reports all mistakes in SPEC files at once."""
    from resnetbk.spec.read import read

    mistakes: list[Mistake] = []
    for path in specs:
        try:
            read(path, registry, sets)
        except UserError as error:
            mistakes.extend(error.mistakes)
        else:
            click.echo(f"{printable(path)}: ok")
    if mistakes:
        raise UserError(*mistakes)
