"""A package with one component, from the files beside this one, in which `@word@` is replaced."""

from __future__ import annotations

import keyword
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from resnetbk.files import accessing
from resnetbk.kinds import KINDS
from resnetbk.registry.entry import VERB
from resnetbk.toml_write import dumps

_MODEL = ("causal", "streaming", "any-length", "deterministic", "ragged")

PROVIDES: dict[str, tuple[str, ...]] = {
    "sequence-mixer": _MODEL,
    "halting-policy": _MODEL,
    "resolution-scheduler": ("causal", "streaming", "any-length", "deterministic", "multi-resolution"),
    "sparsity-gate": _MODEL,
    "embedding": _MODEL,
    "channel-mixer": _MODEL,
    "gradient-strategy": ("deterministic", "data-parallel"),
}
"""The capabilities of the templates' components, where they have more than `deterministic`."""

FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "setup.cfg": "setup.cfg",
    "tox.ini": "tox.ini",
    "@package@/registry.toml": "registry.toml",
    "tests/test_@package@.py": "test.py",
}


def write(folder: Path, name: str, kind: str) -> None:
    """All files of a package, or none. Raises StorageError."""
    words = {
        "name": name,
        "package": name.replace("-", "_"),
        "Class": _class(name, _template(f"{kind}.py")),
        "kind": kind.replace("-", " "),
        "Kind": kind.replace("-", " ").capitalize(),
        "version": version("resnetbk"),
    }
    words |= _registered(words, kind)
    templates = {**FILES, "@package@/component.py": f"{kind}.py"}
    with accessing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as temporary:
            root = Path(temporary, folder.name)
            for place, template in templates.items():
                path = root / _filled(place, words)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_filled(_template(template), words), encoding="utf-8")
            (root / words["package"] / "__init__.py").touch()
            root.rename(folder)


def _registered(words: Mapping[str, str], kind: str) -> dict[str, str]:
    """The manifest's table of a component or a verb, and the README's line on how to use it."""
    name, module = words["name"], f"{words['package']}.component"
    table: dict[str, Any]
    if kind == VERB:
        table = {"use": f"{module}:command", "summary": "What it does: say here what"}
        usage = f"On the command line: `resnetbk {name} --help`."
    else:
        provides, summary = PROVIDES.get(kind, ("deterministic",)), KINDS[kind].summary.capitalize()
        table = {"use": f"{module}:{words['Class']}", "summary": f"{summary}: say here how"}
        table |= {"provides": provides, "api": KINDS[kind].api}
        usage = f'In a spec: `{KINDS[kind].key} = "{name}"`.'
    return {"table": dumps({kind: {name: table}}, headers=2), "usage": usage}


def _class(name: str, code: str) -> str:
    """The name in capitals, and more where Python or the code has a use for that: `True`, `Windows`."""
    plain = "".join(part.capitalize() for part in name.split("-"))
    taken = {*keyword.kwlist, *re.findall(r"\w+", code)}
    names = {f"{plain}{suffix}" for suffix in re.findall(r"@Class@(\w*)", code)}
    return f"{plain}Component" if names & taken else plain


def _template(name: str) -> str:
    return (files("resnetbk_authoring.template") / f"{name}.in").read_text(encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda match: words[match[1]], text)
