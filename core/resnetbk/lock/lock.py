"""Locking a spec: all that it resolved to, written down."""

from __future__ import annotations

import copy
import enum
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    return dict(plain(spec))


def dump(spec: Spec, registry: Registry | None = None) -> str:
    """`resolved` as TOML that reads back to an equal Spec. Where `registry` knows several components of one
    name, the name is written with its plugin."""
    return toml_write.dumps(plain(spec, registry))


def lock(spec: Spec, registry: Registry, **given: Any) -> str:
    """`facts` as TOML: `read_lock` gives the spec back."""
    return toml_write.dumps(facts(spec, registry, **given), headers=2)


def facts(
    spec: Spec, registry: Registry, *, threads: int | None = None, **given: str | None
) -> dict[str, Any]:
    """The spec resolved, and what it runs on, as the tree of a lock.

    spec         the tree of `resolved`
    components   for each spec key: plugin, version, the package that brings it where that has another name,
                 and sha256 of the source of its component
    environment  python, torch, resnetbk, threads (those OMP_NUM_THREADS says or else all, unless given),
                 platform, and what is given: corpus_sha256, precision
    """
    packages = {plugin.name: plugin.package for plugin in registry.plugins}
    components = {key: _component(part, packages.get(part.entry.plugin)) for key, part in parts(spec)}
    environment = {
        "python": platform.python_version(),
        "torch": installed_version("torch"),
        "resnetbk": installed_version("resnetbk"),
        "threads": threads or _threads(),
        "platform": f"{sys.platform}-{platform.machine()}",
        **given,
    }
    return {
        "schema": SCHEMA,
        "spec": plain(spec, registry),
        "components": components,
        "environment": {key: value for key, value in environment.items() if value is not None},
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
    with _origins_said(tree, registry):
        return finish(Document(_pinned(tree), places, places[()]), registry, sets)


def read_held(path: Path | str, locked: Path | str, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    """`read`, of a spec that is to be held to the lock at `locked`: what is missing is said with the plugin
    and version that brought it. Raises UserError."""
    if not Path(locked).exists():
        there = printable(str(path))
        raise UserError(Mistake(printable(str(locked)), f"no such lock; make it: resnetbk lock {there}"))
    tree = load_lock(locked)
    with _origins_said(tree, registry):
        return read(path, registry, sets)


def table_at(spec: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The table of the component at `model.mixer` or `train.observe[0]` in a spec's tree; {} without one."""
    value: Any = spec
    try:
        for step in re.findall(r"\w+", key):
            value = value[int(step) if step.isdecimal() else step]
    except (KeyError, IndexError, TypeError):
        return {}
    return value if isinstance(value, dict) else {"use": value}


def name_at(spec: Mapping[str, Any], key: str) -> str:
    """The name, without its plugin's, of the component at `key`; "" without one."""
    return str(table_at(spec, key).get("use", "")).rpartition("/")[2]


@contextmanager
def _origins_said(tree: Mapping[str, Any], registry: Registry) -> Iterator[None]:
    """Adds to mistakes about components that are missing, or do not load, which plugin and version a lock's
    tree has them from."""
    try:
        yield
    except UserError as error:
        raise UserError(
            *(Mistake(m.place, f"{m.message}{_origin(m, tree, registry)}") for m in error.mistakes)
        ) from None


def _loaded(path: Path | str) -> tuple[dict[str, Any], toml_places.Places]:
    tree, lines = toml_places.load(path)
    if tree.get("schema") != SCHEMA or not is_lock(tree):
        place = f"{printable(str(path))}:{lines.get(('schema',), 1)}"
        raise UserError(Mistake(place, f"no lock of a spec; expects schema = {SCHEMA} and a table [spec]"))
    for name in ("components", "environment"):
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
    tree["components"] = {key: table for key, table in tree["components"].items() if isinstance(table, dict)}
    return tree, lines


def _origin(mistake: Mistake, tree: Mapping[str, Any], registry: Registry) -> str:
    """What to add to a mistake: nothing unless it is about a component that is missing."""
    key = mistake.message.partition(": ")[0]
    component, name = tree["components"].get(key), name_at(tree["spec"], key)
    kind = next((kind.name for kind in KINDS.values() if kind.key == key.partition("[")[0]), None)
    if not component or not name or kind is None:
        return ""
    plugin, version = component.get("plugin", "?"), component.get("version", "")
    try:
        registry.load(registry.find(kind, f"{plugin}/{name}"))
    except UserError:
        here = next((p.version for p in registry.plugins if p.name == plugin and not p.error), None)
        now = "" if here is None else f" (here it is {here or 'of no version'})"
        package = f" of the package {component['package']}" if "package" in component else ""
        return f"; the lock has it from {f'plugin {plugin} {version}'.rstrip()}{package}{now}: install that"
    return ""


def plain(value: Any, registry: Registry | None = None) -> Any:
    """A spec or a component in the types of TOML; names with their plugin's where the registry needs it."""
    if isinstance(value, Part):
        layers = {} if value.layers is None else {"layers": value.layers}
        keys = plain(value.component, registry)  # of which `layers` in a pattern has the place, not the value
        return {"use": _use(value, registry), **layers, **keys, **layers}
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.init]
        items = [(field, getattr(value, field.name)) for field in fields]
        # None that is not the default stays, and cannot be written: leaving it out would change it.
        table = {field.alias: item for field, item in items if item is not None or field.default is not None}
        return plain(table, registry)
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
    component = {"plugin": part.entry.plugin, "version": part.entry.version}
    if package and package != part.entry.plugin:
        component["package"] = package
    if sha256 := source_sha256(type(part.component)):  # else there is nothing to compare with later
        component["sha256"] = sha256
    return component


def _pinned(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The spec in a lock's tree, each component named with the plugin that the lock says."""
    spec: dict[str, Any] = copy.deepcopy(tree["spec"])
    for key, component in tree["components"].items():
        table, plugin = table_at(spec, key), component.get("plugin")
        use = table.get("use")
        if isinstance(plugin, str) and isinstance(use, str) and "/" not in use:
            table["use"] = f"{plugin}/{use}"
    return spec


def installed_version(package: str) -> str | None:
    """Of a distribution; None without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _threads() -> int:
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() else os.cpu_count() or 1
