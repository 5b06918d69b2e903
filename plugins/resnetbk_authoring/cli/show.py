"""`resnetbk show NAME|SPEC`"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.registry.entry import VERB, Entry
from resnetbk.registry.lookup import Registry
from resnetbk.shipped import shipped
from resnetbk_authoring.keys import keys


@click.command("show")
@click.argument("what", metavar="NAME|SPEC")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key of SPEC; repeatable.")
@json_option
@click.pass_obj
def command(registry: Registry, what: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Shows a component with its keys, a verb with its options, or a spec file with all its defaults."""
    if what.endswith(".toml") or Path(what).is_file() or what in shipped():
        from resnetbk.lock.lock import dump, plain
        from resnetbk.spec.read import read

        spec = read(what, registry, sets)
        if as_json:
            print_json(plain(spec, registry))
        else:
            click.echo(dump(spec, registry), nl=False)
        return
    if sets:
        raise UserError("--set is for a spec, as in resnetbk show SPEC.toml --set KEY=VALUE")
    entries = named(registry, what)
    if as_json:
        print_json([_facts(entry, registry) for entry in entries])
        return
    for number, entry in enumerate(entries):
        if number:
            click.echo()
        if entry.kind == VERB:
            verb = registry.load_verb(entry)
            click.echo(f"{entry.name}  verb\n{entry.summary}\nplugin    {entry.plugin} {entry.version}\n")
            click.echo(verb.get_help(click.Context(verb, info_name=f"resnetbk {entry.name}")))
        else:
            _print(entry, registry.load(entry))


def _facts(entry: Entry, registry: Registry) -> dict[str, Any]:
    """All that is shown of an entry, as JSON values: of a verb its options, of a component its keys."""
    declared = {
        "kind": entry.kind,
        "name": entry.name,
        "plugin": entry.plugin,
        "version": entry.version,
        "summary": entry.summary,
    }
    if entry.kind == VERB:
        of_verb = registry.load_verb(entry).params
        return declared | {
            "options": [
                {"names": p.opts, "required": p.required, "help": getattr(p, "help", None)} for p in of_verb
            ]
        }
    component = registry.load(entry)
    return declared | {
        "key": KINDS[entry.kind].key,
        "provides": sorted(entry.provides),
        "requires": sorted(entry.requires),
        "conflicts": sorted(entry.conflicts),
        "paper": entry.paper,
        "keys": [
            {"key": ".".join(key.path), "type": key.type, "allowed": key.allowed, "default": key.default}
            for key in keys(component)
        ],
        "description": inspect.getdoc(component) or "",
    }


def _print(entry: Entry, component: type) -> None:
    from rich.console import Console
    from rich.markup import escape

    from resnetbk.cli.tables import table

    console = Console(highlight=False)
    console.print(f"[bold]{entry.name}[/]  {KINDS[entry.kind].name}, chosen by {KINDS[entry.kind].key}")
    console.print(escape(entry.summary))
    facts = {
        "plugin": f"{entry.plugin} {entry.version}",
        "provides": ", ".join(sorted(entry.provides)) or "-",
        "requires": ", ".join(sorted(entry.requires)),
        "conflicts": ", ".join(sorted(entry.conflicts)),
        "paper": entry.paper,
    }
    for heading, text in facts.items():
        if text:
            console.print(f"[dim]{heading:9}[/] {escape(text)}")
    if of_component := keys(component):
        rows = table("key", "type", "allowed", "default", left=range(4), whole=(0,))
        for key in of_component:
            name = "  " * (len(key.path) - 1) + key.path[-1]
            rows.add_row(*map(escape, (name, key.type, key.allowed, key.default)))
        console.print()
        console.print(rows)
    click.echo(f"\n{inspect.getdoc(component) or ''}")


def named(registry: Registry, what: str) -> list[Entry]:
    """The components and verbs of this name, `plugin/name` or `kind/name`. Raises UserError without any."""
    owner, _, name = what.rpartition("/")
    known = [*registry.entries(), *registry.entries(VERB)]
    entries = [entry for entry in known if entry.name == name and owner in ("", entry.plugin, entry.kind)]
    if not entries:
        raise UserError(f"no component or verb {what!r}{nearest(name, [entry.name for entry in known])}")
    return entries
