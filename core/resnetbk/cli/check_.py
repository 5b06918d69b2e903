"""`resnetbk check SPEC... [--json]`"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.errors import Mistake, UserError, printable
from resnetbk.registry.lookup import Registry


@click.command("check")
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")
@json_option
@click.pass_obj
def command(registry: Registry, specs: tuple[str, ...], sets: tuple[str, ...], as_json: bool) -> None:
    """Reports all mistakes in SPEC files at once."""
    from resnetbk.spec.read import read

    mistakes: dict[str, Sequence[Mistake]] = {}
    for path in specs:
        try:
            read(path, registry, sets)
            mistakes[path] = ()
        except UserError as error:
            mistakes[path] = error.mistakes
        if not as_json and not mistakes[path]:
            click.echo(f"{printable(path)}: ok")
    if as_json:
        print_json([{"spec": p, "mistakes": [attrs.asdict(m) for m in ms]} for p, ms in mistakes.items()])
    if any(mistakes.values()):
        raise UserError(*(mistake for of_spec in mistakes.values() for mistake in of_spec))
