"""Discovery of plugins: among installed distributions, and at paths that somebody named.

Nothing of them is imported. What is wrong with a plugin is noted in one line, and harms no other.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import attrs

from resnetbk.errors import UserError, one_line
from resnetbk.registry.entry import Manifest
from resnetbk.registry.manifest import own_name, read_manifest

GROUP = "resnetbk.registry"
"""The entry points that name manifests: `my-plugin = my_package:registry.toml`."""


@attrs.frozen
class Plugin:
    """A plugin, whether it works or not.

    version   of its distribution, "" when unknown or when the manifest is private
    path      of its manifest; None when that could not be located
    manifest  None when there is an error
    error     what is wrong, in one line; "" when it is fine
    blocked   left out on purpose, so neither fine nor broken; its manifest is not read
    private   named by path rather than installed
    package   the distribution that brings it, "" for a private one
    """

    name: str
    version: str
    path: Path | None
    manifest: Manifest | None
    error: str
    blocked: bool = False
    private: bool = False
    package: str = ""

    def __str__(self) -> str:
        return f"plugin {self.name} {self.version}".rstrip()


def installed() -> Iterator[Plugin]:
    """The plugins of installed distributions, manifests unread."""
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
            # `distribution.metadata` parses e-mails, which takes longer than all else here together
            fields = dict(re.findall(r"(?m)^(Name|Version):(.*)", text.partition("\n\n")[0]))
            name, version = (fields.get(key, "").strip() for key in ("Name", "Version"))
            mentioned = GROUP in (distribution.read_text("entry_points.txt") or "")
        except Exception:
            continue  # what is left of a distribution that was removed
        key = re.sub(r"[-_.]+", "-", name).lower()
        if not key or key in seen:
            continue  # the first on sys.path is the one that is imported
        seen.add(key)
        try:
            points = [p for p in (distribution.entry_points if mentioned else ()) if p.group == GROUP]
        except Exception as cause:
            error = f"entry_points.txt is faulty: {one_line(cause)}"
            yield Plugin(name, version, None, None, error, package=name)
            continue
        for point in points:
            path, error = None, ""
            try:
                path = _locate(point.value)
            except LookupError as cause:
                error = f"entry point {point.value!r}: {cause.args[0]}"
            yield Plugin(point.name, version, path, None, error, package=name)


def _locate(value: str) -> Path:
    """The file that `package:registry.toml` means. Raises LookupError. Finders are asked for each package in
    turn: `importlib.util.find_spec` of a dotted name would import its parents."""
    package, _, file = value.replace(" ", "").partition(":")
    top, *rest = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for i, _ in enumerate(rest, 1):
            spec = spec and _find_below(spec, ".".join([top, *rest[:i]]))
    except Exception as cause:
        raise LookupError(f"cannot look for package {package!r}: {one_line(cause)}") from None
    if spec is None:
        raise LookupError(f"there is no package {package!r}")
    if not file or Path(file).is_absolute() or ".." in Path(file).parts:
        raise LookupError("write package:registry.toml")
    for folder in spec.submodule_search_locations or ():
        if (path := Path(folder, file)).is_file():
            return path
    raise LookupError(f"package {package!r} has no file {file!r}")


def _find_below(parent: ModuleSpec, name: str) -> ModuleSpec | None:
    path = parent.submodule_search_locations
    specs = (finder.find_spec(name, path) for finder in sys.meta_path) if path else iter(())
    return next((spec for spec in specs if spec), None)


def private(path: Path) -> Plugin:
    """The plugin of a manifest that is named by path, unread."""
    return Plugin(own_name(path), "", path, None, "", private=True)


def with_manifest(plugin: Plugin) -> Plugin:
    """The plugin with its manifest read, or with what is wrong with that."""
    if plugin.error or plugin.path is None:
        return plugin
    try:
        return attrs.evolve(plugin, manifest=read_manifest(plugin.path, plugin.name, plugin.version))
    except UserError as error:
        first, *others = error.mistakes
        return attrs.evolve(plugin, error=f"{first} (and {len(others)} more)" if others else str(first))
