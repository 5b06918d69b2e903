"""Locking a spec: all that it resolved to, written down."""

from __future__ import annotations

import enum
import hashlib
import importlib.metadata
import inspect
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import attrs

from resnetbk import toml_places, toml_write
from resnetbk.errors import Mistake, UserError
from resnetbk.spec.document import Document, Place
from resnetbk.spec.read import finish
from resnetbk.spec.spec import Part, Spec, parts

if TYPE_CHECKING:
    from resnetbk.registry import Registry

SCHEMA = 1
"""The number of the format of a lock."""


def resolved(spec: Spec) -> dict[str, Any]:
    """`spec` as the plain tree of a file with every default written out. What is None by default and None
    here is left out."""
    tree: dict[str, Any] = _plain(spec, None)
    return tree


def dump(spec: Spec, registry: Registry | None = None) -> str:
    """`resolved` as TOML that reads back to an equal Spec. Where `registry` knows several components of one
    name, the name is written with its plugin."""
    return toml_write.dumps(_plain(spec, registry))


def lock(
    spec: Spec, registry: Registry, *, corpus_sha256: str | None = None, threads: int | None = None
) -> str:
    """The spec resolved, and what it ran on, as TOML: `read_lock` gives the spec back.

    spec         the tree of `resolved`
    components   for each spec key: plugin, version, and sha256 of the source of its component
    environment  python, torch, resnetbk, threads (those OMP_NUM_THREADS says or else all, unless given),
                 platform, and corpus_sha256 when given
    """
    components = {key: _component(part) for key, part in parts(spec)}
    environment = {
        "python": platform.python_version(),
        **{package: found for package in ("torch", "resnetbk") if (found := _version(package))},
        "threads": _threads() if threads is None else threads,
        "platform": f"{sys.platform}-{platform.machine()}",
        **({"corpus_sha256": corpus_sha256} if corpus_sha256 is not None else {}),
    }
    tree = {
        "schema": SCHEMA,
        "spec": _plain(spec, registry),
        "components": components,
        "environment": environment,
    }
    return toml_write.dumps(tree, headers=2)


def read_lock(path: Path | str, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    """The spec in the lock at `path`, with `sets` laid over it. Each component is taken from the plugin that
    the lock names, whatever else is installed. Raises UserError."""
    shown = toml_places.printable(str(path))
    tree, lines = toml_places.load(path)
    if tree.get("schema") != SCHEMA or not isinstance(tree.get("spec"), dict):
        place = f"{shown}:{lines.get(('schema',), 1)}"
        raise UserError(Mistake(place, f"no lock of a spec; expects schema = {SCHEMA} and a table [spec]"))
    places = {p[1:]: Place(shown, line) for p, line in lines.items() if p[0] == "spec"}
    return finish(Document(_pinned(tree), places, places[()]), registry, sets)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """How tree `b` differs from `a`, one line a key: `model.width: 128 -> 256`."""
    before, after = dict(_leaves(a)), dict(_leaves(b))
    return [
        f"{key}: {_shown(before, key)} -> {_shown(after, key)}"
        for key in dict.fromkeys([*before, *after])
        if key not in before or key not in after or before[key] != after[key]
    ]


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(leaves: Mapping[str, Any], key: str) -> str:
    return toml_write.inline(leaves[key]) if key in leaves else "nothing"


def _plain(value: Any, registry: Registry | None) -> Any:
    """`value` in the types of TOML."""
    if isinstance(value, Part):
        return {"use": _use(value, registry), **_plain(value.component, registry)}
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.init]
        items = [(field, getattr(value, field.name)) for field in fields]
        # None that is not the default stays, and cannot be written: leaving it out would change it.
        kept = [(field.alias, item) for field, item in items if item is not None or field.default is not None]
        return {key: _plain(item, registry) for key, item in kept}
    if isinstance(value, Mapping):
        return {key: _plain(item, registry) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item, registry) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item, registry) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value


def _use(part: Part, registry: Registry | None) -> str:
    entries = registry.entries(part.entry.kind) if registry else ()
    several = sum(entry.name == part.name for entry in entries) > 1
    return f"{part.entry.plugin}/{part.name}" if several else part.name


def _component(part: Part) -> dict[str, str]:
    found = {"plugin": part.entry.plugin, "version": part.entry.version}
    try:
        source = Path(inspect.getsourcefile(type(part.component)) or "")
        # By convention the torch module of `name.py` stands beside it in `name_module.py`.
        files = [source, *source.parent.glob(f"{source.stem}_module.py")]
        found["sha256"] = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    except (TypeError, OSError):
        pass  # it has no source file, so there is nothing to compare with later
    return found


def _pinned(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The spec in a lock's tree, each component named with the plugin that the lock says."""
    components = tree.get("components")
    plugins = {
        key: component["plugin"]
        for key, component in (components if isinstance(components, dict) else {}).items()
        if isinstance(component, dict) and isinstance(component.get("plugin"), str)
    }

    def pin(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            use = value.get("use")
            if key in plugins and isinstance(use, str) and "/" not in use:
                return {**value, "use": f"{plugins[key]}/{use}"}
            return {name: pin(item, f"{key}.{name}" if key else name) for name, item in value.items()}
        if isinstance(value, list):
            return [pin(item, f"{key}[{i}]") for i, item in enumerate(value)]
        return value

    pinned: dict[str, Any] = pin(tree["spec"], "")
    return pinned


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _threads() -> int:
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() else os.cpu_count() or 1
