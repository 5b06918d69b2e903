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
    """Reports all mistakes in SPEC files at once, and what their components need that is not installed."""
    from resnetbk.spec.read import read
    from resnetbk.spec.spec import parts

    mistakes: dict[str, Sequence[Mistake]] = {}
    missing: dict[str, list[str]] = {}
    for path in specs:
        try:
            chosen = parts(read(path, registry, sets))
            mistakes[path] = ()
            missing[path] = [
                f"{key}: {part.name} {lack}" for key, part in chosen for lack in part.entry.missing()
            ]
        except UserError as error:
            mistakes[path] = error.mistakes
        if not as_json and not mistakes[path]:
            click.echo(f"{printable(path)}: ok")
            for lack in missing[path]:
                click.echo(f"{printable(path)}: {lack}", err=True)
    if as_json:
        rows = [{"spec": p, "mistakes": [attrs.asdict(m) for m in ms]} for p, ms in mistakes.items()]
        print_json([row | {"missing": missing.get(str(row["spec"]), [])} for row in rows])
    if any(mistakes.values()):
        raise UserError(*(mistake for of_spec in mistakes.values() for mistake in of_spec))
