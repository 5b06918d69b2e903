"""`resnetbk list [KIND] [--json]`"""

from __future__ import annotations

import json

import click

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.registry.lookup import Registry


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
                "default": entry.default,
                "summary": entry.summary,
            }
            for entry in entries
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        _print(registry, entries, kind)
    for plugin in registry.broken():
        click.echo(f"warning: plugin {plugin.name} {plugin.version} is left out: {plugin.error}", err=True)


def _print(registry: Registry, entries: tuple, kind: str | None) -> None:  # type: ignore[type-arg]
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    several = len({entry.plugin for entry in entries}) > 1
    for heading in ("key in a spec", "component", *(["plugin"] if several else []), "what it does"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "what it does")
    before = ""
    for entry in entries:
        first = entry.kind != before
        if first and before and kind is None:
            table.add_row()
        key = KINDS[entry.kind].key if first else ""
        name = Text(entry.name, style="bold")
        if entry.default:
            name.append(" *", style="green")
        table.add_row(key, name, *([entry.plugin] if several else []), Text(entry.summary))
        before = entry.kind
    console = Console()
    console.print(table)
    if entries:
        console.print("\n[green]*[/] what a spec gets when it leaves the key out")
    else:
        console.print("nothing is installed", style="dim")
