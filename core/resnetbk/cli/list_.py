"""`resnetbk list [KIND] [--json]`"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.errors import UserError, nearest, printable
from resnetbk.kinds import KINDS
from resnetbk.registry.entry import VERB, Entry
from resnetbk.registry.lookup import Registry


@click.command("list")
@click.argument("kind", required=False)
@json_option
@click.pass_obj
def command(registry: Registry, kind: str | None, as_json: bool) -> None:
    """Lists the installed components and verbs, or those of KIND (sequence-mixer, model.mixer, verb)."""
    keys = {kind.key: name for name, kind in KINDS.items()}
    kind = keys.get(kind or "", kind)
    if kind not in (None, VERB, *KINDS):
        raise UserError(f"no kind {kind!r}{nearest(str(kind), [*KINDS, *keys, VERB])}")
    entries = registry.entries(kind) if kind else (*registry.entries(), *registry.entries(VERB))
    defaults = {entry for name in KINDS for entry in registry.defaults(name)}
    if as_json:
        rows = [
            {name: getattr(entry, name) for name in ("kind", "name", "plugin", "version")}
            | {"provides": sorted(entry.provides), "default": entry in defaults, "summary": entry.summary}
            for entry in entries
        ]
        print_json(rows)
    else:
        _print(entries, defaults, kind)
    for plugin in registry.broken():
        click.echo(printable(f"warning: {plugin} is left out: {plugin.error}"), err=True)


def _print(entries: Sequence[Entry], defaults: Collection[Entry], kind: str | None) -> None:
    from rich.console import Console
    from rich.text import Text

    from resnetbk.cli import VERBS
    from resnetbk.cli.tables import table

    several = len({entry.plugin for entry in entries}) > 1
    headings = ("key in a spec", "component", *(["plugin"] if several else []), "what it does")
    rows = table(*headings, left=range(len(headings)), whole=range(len(headings) - 1))
    before = ""
    for entry in entries:
        first = entry.kind != before
        if first and before and kind is None:
            rows.add_row()
        key = "" if not first else KINDS[entry.kind].key if entry.kind in KINDS else "(verbs)"
        name = Text(entry.name, style="bold")
        if entry in defaults:
            name.append(" *", style="green")
        rows.add_row(key, name, *([entry.plugin] if several else []), Text(entry.summary))
        before = entry.kind
    console = Console()
    console.print(rows)
    if kind in (None, VERB):
        console.print(f"\ncore's own verbs: {', '.join(sorted(VERBS))}")
    if entries:
        console.print("\n[green]*[/] what a spec gets when it leaves the key out")
    else:
        console.print("nothing is installed", style="dim")
