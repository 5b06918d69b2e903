"""`resnetbk list [KIND] [--json]`"""

from __future__ import annotations

import json

import click

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.registry.lookup import Registry
from resnetbk.toml_places import printable


@click.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def command(registry: Registry, kind: str | None, as_json: bool) -> None:
    """The components that are installed, of all kinds or of KIND (sequence-mixer, or model.mixer)."""
    keys = {found.key: name for name, found in KINDS.items()}
    kind = keys.get(kind or "", kind)
    if kind is not None and kind not in KINDS:
        raise UserError(f"no kind {kind!r}{nearest(kind, [*KINDS, *keys])}")
    entries = registry.entries(kind)
    if as_json:
        rows = [
            {
                "kind": entry.kind,
                "name": entry.name,
                "plugin": entry.plugin,
                "version": entry.version,
                "provides": sorted(entry.provides),
                "default": entry in registry.defaults(entry.kind),
                "summary": entry.summary,
            }
            for entry in entries
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        _print(registry, entries, kind)
    for plugin in registry.broken():
        click.echo(
            printable(f"warning: plugin {plugin.name} {plugin.version} is left out: {plugin.error}"), err=True
        )


def _print(registry: Registry, entries: tuple, kind: str | None) -> None:  # type: ignore[type-arg]
    from rich.console import Console
    from rich.text import Text

    from resnetbk.cli.tables import table

    several = len({entry.plugin for entry in entries}) > 1
    headings = ("key in a spec", "component", *(["plugin"] if several else []), "what it does")
    rows = table(*headings, left=range(len(headings)), whole=range(len(headings) - 1))
    before = ""
    for entry in entries:
        first = entry.kind != before
        if first and before and kind is None:
            rows.add_row()
        key = KINDS[entry.kind].key if first else ""
        name = Text(entry.name, style="bold")
        if entry in registry.defaults(entry.kind):
            name.append(" *", style="green")
        rows.add_row(key, name, *([entry.plugin] if several else []), Text(entry.summary))
        before = entry.kind
    console = Console()
    console.print(rows)
    if entries:
        console.print("\n[green]*[/] what a spec gets when it leaves the key out")
    else:
        console.print("nothing is installed", style="dim")
