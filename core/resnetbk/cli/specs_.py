"""`resnetbk specs [--json]`"""

from __future__ import annotations

import itertools
import re

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.shipped import shipped


@click.command("specs")
@json_option
def command(as_json: bool) -> None:
    """Lists the specs that are installed along; every verb that takes a SPEC takes their names."""
    from rich.console import Console

    from resnetbk.cli.tables import table

    specs = [(name, path, _purpose(path.read_text(encoding="utf-8"))) for name, path in shipped().items()]
    if as_json:
        print_json([{"name": name, "path": str(path), "purpose": purpose} for name, path, purpose in specs])
        return
    rows = table("spec", "what it is for", left=range(2), whole=range(1))
    for name, _, purpose in specs:
        rows.add_row(name, purpose)
    Console().print(rows)


def _purpose(text: str) -> str:
    """The first sentence of the comment that a spec begins with; else what it changes."""
    comment = list(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()))
    if not comment:
        base = re.match(r'extends = "(.*)\.toml"', text)
        return f"{base[1]}, with another part" if base else ""
    return " ".join(line.lstrip("# ") for line in comment).partition(". ")[0].rstrip(".:")
