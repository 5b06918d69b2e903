"""`resnetbk lock SPEC [--set k=v] [--out FILE] [--json]`"""

from __future__ import annotations

from pathlib import Path

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.registry.lookup import Registry


@click.command("lock")
@click.argument("spec", type=click.Path())
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")
@click.option(
    "--out", metavar="FILE", type=click.Path(dir_okay=False),
    help="Otherwise NAME.lock.toml beside NAME.toml.",
)  # fmt: skip
@json_option
@click.pass_obj
def command(registry: Registry, spec: str, sets: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Records everything that a run of SPEC depends on, for `train --locked` to compare with.

    That is the spec with every default; plugin, version and sha256 of the source of each component; the
    sha256 of the corpus; Python, torch, threads and platform.
    """
    from resnetbk.errors import UserError
    from resnetbk.lock.lock import lock_path
    from resnetbk.spec.read import read

    read_spec = read(spec, registry, sets)  # before torch is imported: mistakes answer at once

    import tomllib

    from resnetbk.files import replace_file
    from resnetbk.training.experiment import Experiment

    path = Path(out) if out else lock_path(spec)
    if path.exists() and path.samefile(spec):
        raise UserError(f"--out {path}: is the spec itself; name another file, or leave --out away")
    text = Experiment(read_spec, registry).lock()
    replace_file(path, text.encode(), parents=True)
    tree = tomllib.loads(text)
    if as_json:
        print_json({"lock": path, **tree})
        return
    here = tree["environment"]
    click.echo(
        f"{path}: {len(tree['components'])} components, corpus {here['corpus_sha256'][:12]}, "
        f"Python {here['python']}, torch {here.get('torch', '?')}, threads {here['threads']}, "
        f"{here['platform']}"
    )
