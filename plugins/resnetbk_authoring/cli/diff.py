"""`resnetbk diff A B`"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.errors import Mistake, UserError
from resnetbk.registry.lookup import Registry

if TYPE_CHECKING:
    from resnetbk.lock.changes import Change


@click.command("diff")
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@json_option
@click.pass_obj
def command(registry: Registry, a: str, b: str, as_json: bool) -> None:
    """Shows how B differs from A: specs with all their defaults, locks, or run folders.

    Between locks and runs, also the plugin, version and source of each component, and what they ran on.
    """
    from resnetbk.lock.changes import changes

    trees, mistakes = [], list[Mistake]()
    for what in (a, b):
        try:
            trees.append(_tree(what, registry))
        except UserError as error:
            mistakes += error.mistakes
    if mistakes:
        raise UserError(*mistakes)
    before, after = trees
    sections = [name for name in ("spec", "components", "environment") if name in before and name in after]
    differing = {section: changes(before[section], after[section]) for section in sections}
    if as_json:
        rows = {
            section: [
                {"key": change.key, "a": _null(change.before), "b": _null(change.after)}
                for change in of_section
            ]
            for section, of_section in differing.items()
        }
        print_json(rows)
    else:
        _print(differing)


def _null(value: Any) -> Any:
    """JSON's word for a key that is not there."""
    from resnetbk.lock.changes import NOTHING

    return None if value is NOTHING else value


def _tree(what: str, registry: Registry) -> Mapping[str, Any]:
    """The sections of a lock; of a spec file only `spec`."""
    from resnetbk import toml_places
    from resnetbk.lock.lock import facts, is_lock, load_lock
    from resnetbk.runs import spec_lock
    from resnetbk.runs.run_folder import RunFolder
    from resnetbk.spec.read import read

    if Path(what).is_dir():
        return spec_lock.load(RunFolder.open(Path(what)))
    if is_lock(toml_places.load(what)[0]):
        return load_lock(what)
    return {"spec": facts(read(what, registry), registry)["spec"]}


def _print(differing: Mapping[str, Sequence[Change]]) -> None:
    from rich.console import Console
    from rich.text import Text

    from resnetbk.lock.changes import shown

    console = Console(highlight=False)
    if not any(differing.values()):
        console.print("no difference")
    for section, of_section in differing.items():
        if of_section and len(differing) > 1:
            console.print(Text(f"[{section}]", style="dim"))
        for change in of_section:
            before, after = (shown(change.before), "red"), (shown(change.after), "green")
            line = Text.assemble((change.key, "bold"), ": ", before, " -> ", after)
            console.print(line, soft_wrap=True)
