"""Locking a spec: all that it resolved to, written down."""

from __future__ import annotations

import enum
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import attrs

from resnetbk import toml_places, toml_write
from resnetbk.errors import Mistake, UserError, printable
from resnetbk.kinds import KINDS
from resnetbk.lock.source import source_sha256
from resnetbk.spec.document import Document, Place
from resnetbk.spec.read import finish, read
from resnetbk.spec.spec import Part, Spec, parts

if TYPE_CHECKING:
    from resnetbk.registry import Registry

SCHEMA = 1
"""The number of the format of a lock."""


def resolved(spec: Spec) -> dict[str, Any]:
    """`spec` as the plain tree of a file with every default written out. What is None by default and None
    here is left out."""
    tree: dict[str, Any] = plain(spec, None)
    return tree


def dump(spec: Spec, registry: Registry | None = None) -> str:
    """`resolved` as TOML that reads back to an equal Spec. Where `registry` knows several components of one
    name, the name is written with its plugin."""
    return toml_write.dumps(plain(spec, registry))


def lock(
    spec: Spec, registry: Registry, *, corpus_sha256: str | None = None, threads: int | None = None
) -> str:
    """`facts` as TOML: `read_lock` gives the spec back."""
    return toml_write.dumps(facts(spec, registry, corpus_sha256=corpus_sha256, threads=threads), headers=2)


def facts(
    spec: Spec, registry: Registry, *, corpus_sha256: str | None = None, threads: int | None = None
) -> dict[str, Any]:
    """The spec resolved, and what it runs on, as the tree of a lock.

    spec         the tree of `resolved`
    components   for each spec key: plugin, version, the package that brings it where that has another name,
                 and sha256 of the source of its component
    environment  python, torch, resnetbk, threads (those OMP_NUM_THREADS says or else all, unless given),
                 platform, and corpus_sha256 when given
    """
    packages = {plugin.name: plugin.package for plugin in registry.plugins}
    components = {key: _component(part, packages.get(part.entry.plugin)) for key, part in parts(spec)}
    environment = {
        "python": platform.python_version(),
        **{package: found for package in ("torch", "resnetbk") if (found := _version(package))},
        "threads": _threads() if threads is None else threads,
        "platform": f"{sys.platform}-{platform.machine()}",
        **({"corpus_sha256": corpus_sha256} if corpus_sha256 is not None else {}),
    }
    return {
        "schema": SCHEMA,
        "spec": plain(spec, registry),
        "components": components,
        "environment": environment,
    }


def lock_path(spec: Path | str) -> Path:
    """Where the lock of a spec file stands: `tiny.lock.toml` beside `tiny.toml`."""
    path = Path(spec)
    return path.with_name(f"{path.name.removesuffix('.toml')}.lock.toml")


def is_lock(tree: Mapping[str, Any]) -> bool:
    """Whether the tree of a file is that of a lock rather than of a spec."""
    return "schema" in tree and isinstance(tree.get("spec"), dict)


def load_lock(path: Path | str) -> dict[str, Any]:
    """The tree of the lock at `path`, as `facts` gave it; nothing that it names need be installed.

    Raises UserError."""
    return _loaded(path)[0]


def read_lock(path: Path | str, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    """The spec in the lock at `path`, with `sets` laid over it. Each component is taken from the plugin that
    the lock names, whatever else is installed. Raises UserError."""
    shown = printable(str(path))
    tree, lines = _loaded(path)
    places = {p[1:]: Place(shown, line) for p, line in lines.items() if p[0] == "spec"}
    try:
        return finish(Document(_pinned(tree), places, places[()]), registry, sets)
    except UserError as error:
        raise with_origins(error, tree, registry) from None


def read_held(path: Path | str, locked: Path | str, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    """`read`, of a spec that is to be held to the lock at `locked`: what is missing is said with the plugin
    and version that brought it. Raises UserError."""
    if not Path(locked).exists():
        there = printable(str(path))
        raise UserError(Mistake(printable(str(locked)), f"no such lock; make it: resnetbk lock {there}"))
    tree = load_lock(locked)
    try:
        return read(path, registry, sets)
    except UserError as error:
        raise with_origins(error, tree, registry) from None


def with_origins(error: UserError, tree: Mapping[str, Any], registry: Registry) -> UserError:
    """`error` about the spec of a lock's tree: where a component is missing or does not load, with the
    plugin and version that brought it."""
    mistakes = []
    for mistake in error.mistakes:
        key = mistake.message.partition(": ")[0]
        found = tree["components"].get(key)
        brought = _missing(key, found, tree["spec"], registry) if found else ""
        mistakes.append(Mistake(mistake.place, f"{mistake.message}{brought}"))
    return UserError(*mistakes)


def _loaded(path: Path | str) -> tuple[dict[str, Any], toml_places.Places]:
    tree, lines = toml_places.load(path)
    if tree.get("schema") != SCHEMA or not is_lock(tree):
        place = f"{printable(str(path))}:{lines.get(('schema',), 1)}"
        raise UserError(Mistake(place, f"no lock of a spec; expects schema = {SCHEMA} and a table [spec]"))
    for name in ("components", "environment"):
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
    tree["components"] = {k: found for k, found in tree["components"].items() if isinstance(found, dict)}
    return tree, lines


def _missing(key: str, component: Mapping[str, Any], spec: Mapping[str, Any], registry: Registry) -> str:
    """What to add about the component that a lock has at `key`: nothing when it is there."""
    plugin, version = component.get("plugin", "?"), component.get("version", "")
    value: Any = spec
    try:
        for step in re.findall(r"[a-z]+|[0-9]+", key):
            value = value[int(step)] if step.isdigit() else value[step]
        use = str(value if isinstance(value, str) else value["use"]).rpartition("/")[2]
        kind = next(kind.name for kind in KINDS.values() if kind.key == key.partition("[")[0])
        registry.load(registry.find(kind, f"{plugin}/{use}"))
    except UserError:
        here = next((p.version for p in registry.plugins if p.name == plugin and not p.error), None)
        now = "" if here is None else f" (here it is {here or 'of no version'})"
        package = f" of the package {component['package']}" if "package" in component else ""
        return f"; the lock has it from {f'plugin {plugin} {version}'.rstrip()}{package}{now}: install that"
    except (KeyError, IndexError, TypeError, StopIteration):
        return ""
    return ""


def plain(value: Any, registry: Registry | None = None) -> Any:
    """A spec or a component in the types of TOML; names with their plugin's where the registry needs it."""
    if isinstance(value, Part):
        return {"use": _use(value, registry), **plain(value.component, registry)}
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.init]
        items = [(field, getattr(value, field.name)) for field in fields]
        # None that is not the default stays, and cannot be written: leaving it out would change it.
        kept = [(field.alias, item) for field, item in items if item is not None or field.default is not None]
        return {key: plain(item, registry) for key, item in kept}
    if isinstance(value, Mapping):
        return {key: plain(item, registry) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item, registry) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item, registry) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value


def _use(part: Part, registry: Registry | None) -> str:
    entries = registry.entries(part.entry.kind) if registry else ()
    several = sum(entry.name == part.name for entry in entries) > 1
    return f"{part.entry.plugin}/{part.name}" if several else part.name


def _component(part: Part, package: str | None) -> dict[str, str]:
    found = {"plugin": part.entry.plugin, "version": part.entry.version}
    if package and package != part.entry.plugin:
        found["package"] = package
    sha256 = source_sha256(type(part.component))
    # without a source file there is nothing to compare with later
    return found if sha256 is None else {**found, "sha256": sha256}


def _pinned(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The spec in a lock's tree, each component named with the plugin that the lock says."""
    plugins = {
        key: component["plugin"]
        for key, component in tree["components"].items()
        if isinstance(component.get("plugin"), str)
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
