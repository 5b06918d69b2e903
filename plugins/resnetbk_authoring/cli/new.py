"""`resnetbk new NAME --kind KIND`"""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import click

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.registry.entry import VERB
from resnetbk.registry.lookup import Registry

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@click.command("new")
@click.argument("name")
@click.option("--kind", required=True, metavar="KIND", help="sequence-mixer, corpus, ..., or verb.")
@click.option("--out", metavar="DIR", help="The new folder; otherwise NAME.")
@click.pass_obj
def command(registry: Registry, name: str, kind: str, out: str | None) -> None:
    """Writes a complete package with a component or a verb that works: manifest, code, tests, tox, README."""
    import importlib.util

    from resnetbk.cli import VERBS
    from resnetbk_authoring.template.package import write

    mistakes = []
    package = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        mistakes.append(f"{name!r} is no name; write a letter, then a-z and 0-9, with '-' between words")
    elif package == "tests":
        mistakes.append("'tests' is where its tests go; choose another name")
    elif keyword.iskeyword(package):
        mistakes.append(f"{package!r} is a word of Python; choose another name")
    elif importlib.util.find_spec(package):
        mistakes.append(f"there is a package {package!r} already; choose another name")
    if kind not in (*KINDS, VERB):
        mistakes.append(f"no kind {kind!r}{nearest(kind, [*KINDS, VERB])}")
    elif any(entry.name == name for entry in registry.entries(kind)) or (kind == VERB and name in VERBS):
        mistakes.append(f"there is a {kind} {name!r} already; choose another name")
    folder = Path(out or name)
    if folder.exists():
        mistakes.append(f"{folder} is there already; choose another --out")
    if mistakes:
        raise UserError(*mistakes)
    write(folder, name, kind)
    click.echo(
        f"{folder}: try\n\n    cd {folder} && pip install -e '.[test]' && pytest && resnetbk test {name}"
    )
