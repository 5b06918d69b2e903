"""Specs that are installed along: `quickstart` means specs/quickstart.toml, wherever that was put."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from resnetbk.errors import Mistake, UserError, nearest, printable

PACKAGE = "resnetbk_specs"


def shipped() -> dict[str, Path]:
    """The files by name, such as `mixers/attention`."""
    package = importlib.util.find_spec(PACKAGE)
    roots = [Path(root) for root in (package and package.submodule_search_locations) or ()]
    paths = [(root, path) for root in roots for path in sorted(root.rglob("*.toml"))]
    return {path.relative_to(root).with_suffix("").as_posix(): path for root, path in paths}


def located(path: str) -> str:
    """The path of a spec: as it is, or that of the shipped spec of this name where there is no such file.
    Raises UserError for a name that neither has."""
    if path.endswith(".toml") or "\0" in path or os.path.lexists(path):
        return path
    specs = shipped()
    if path not in specs:
        hint = nearest(path, specs)
        if "did you mean" not in hint:
            hint = "; resnetbk specs lists those there are"
        raise UserError(Mistake(printable(path), f"no such file, nor an installed spec{hint}"))
    return str(specs[path])
