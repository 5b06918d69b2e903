"""`resnetbk show NAME|SPEC`"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import attrs
import click

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.registry.entry import VERB, Entry
from resnetbk.registry.lookup import Registry


@click.command("show")
@click.argument("what", metavar="NAME|SPEC")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key of SPEC; repeatable.")
@click.pass_obj
def command(registry: Registry, what: str, sets: tuple[str, ...]) -> None:
    """Shows a component with its keys, a verb with its options, or a spec file with all its defaults."""
    if what.endswith(".toml") or Path(what).is_file():
        from resnetbk.lock.lock import dump
        from resnetbk.spec.read import read

        click.echo(dump(read(what, registry, sets), registry), nl=False)
        return
    if sets:
        raise UserError("--set is for a spec; a component is shown with all its keys")
    for number, entry in enumerate(find(registry, what)):
        if number:
            click.echo()
        if entry.kind == VERB:
            verb = registry.load_verb(entry)
            click.echo(f"{entry.name}  verb\n{entry.summary}\nplugin    {entry.plugin} {entry.version}\n")
            click.echo(verb.get_help(click.Context(verb, info_name=f"resnetbk {entry.name}")))
        else:
            _print(entry, registry.load(entry))


def find(registry: Registry, what: str) -> list[Entry]:
    """The components and verbs of this name, `plugin/name` or `kind/name`. Raises UserError without any."""
    owner, _, name = what.rpartition("/")
    known = [*registry.entries(), *registry.entries(VERB)]
    entries = [entry for entry in known if entry.name == name and owner in ("", entry.plugin, entry.kind)]
    if not entries:
        raise UserError(f"no component or verb {what!r}{nearest(name, [entry.name for entry in known])}")
    return entries


def _print(entry: Entry, component: type) -> None:
    import inspect

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
    fields = [field for field in attrs.fields(component) if field.init]
    if fields:
        rows = table("key", "type", "default", left=range(3))
        for field in fields:
            rows.add_row(field.alias, escape(type_name(field.type)), escape(default(field.default)))
        console.print()
        console.print(rows)
    click.echo(f"\n{inspect.getdoc(component) or ''}")


def type_name(kind: Any) -> str:
    """As a reader of a spec wants it."""
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def default(value: Any) -> str:
    """What a key is when it is left out."""
    if value is attrs.NOTHING:
        return "(required)"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        if value.takes_self:
            return "(from the other keys)"
        try:
            value = value.factory()
        except Exception as error:  # the component's own mistake
            return f"(fails: {type(error).__name__})"
    return repr(value)
