"""What is installed: every plugin's manifest, and the classes that manifests name.

Discovery imports nothing and takes a few milliseconds. Only the methods `load...` run a plugin's code.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs

from resnetbk.errors import UserError, nearest, one_line
from resnetbk.kinds import KINDS
from resnetbk.registry.discovery import Plugin, installed, private, with_manifest
from resnetbk.registry.entry import VERB, Entry
from resnetbk.terminal import told_if_slow

if TYPE_CHECKING:
    from click import Command

PATHS = "RESNETBK_REGISTRY"
"""The environment variable with more manifests, separated as in PATH."""

PLUGINS = "RESNETBK_PLUGINS"
"""The environment variable that allows plugins (`a,b`: these and no others) or blocks them (`-a`)."""

_FIRST = "resnetbk"
OURS = (_FIRST, "resnetbk-authoring", "resnetbk-instrument")
log = logging.getLogger(__name__)
_ORDER = {kind: i for i, kind in enumerate((*KINDS, VERB))}


@attrs.frozen
class Registry:
    """All plugins: the one named like this package first, the others by name."""

    plugins: tuple[Plugin, ...]

    @classmethod
    def discover(
        cls, paths: Iterable[Path] = (), *, allow: Iterable[str] | None = None, block: Iterable[str] = ()
    ) -> Registry:
        """Reads the manifests of installed plugins, those at `paths`, and those the environment names.

        `allow` (in place of the environment's list) blocks all others. `block` adds to the
        environment's list and always wins. A plugin with a faulty manifest harms no other.
        """
        named, unwanted = listed()
        blocked = {*block, *unwanted}
        allowed = (named or None) if allow is None else set(allow)
        more = [Path(path) for path in os.environ.get(PATHS, "").split(os.pathsep) if path]
        plugins: dict[str, Plugin] = {}  # by file, so that one named twice counts once
        for plugin in [*installed(), *map(private, [*paths, *more])]:
            plugins.setdefault(os.path.realpath(plugin.path or plugin.name), plugin)
        holders: dict[str, Plugin] = {}  # by name
        known = []
        for plugin in sorted(plugins.values(), key=lambda plugin: (plugin.name != _FIRST, plugin.name)):
            if plugin.name in blocked:
                plugin = attrs.evolve(plugin, error=f"blocked (--block or {PLUGINS})", blocked=True)
            elif allowed is not None and plugin.name not in allowed:
                plugin = attrs.evolve(plugin, error=f"not among those that {PLUGINS} allows", blocked=True)
            elif plugin.name in holders:
                place = holders[plugin.name].path or "an unknown place"
                plugin = attrs.evolve(plugin, error=f"another plugin has this name, at {place}")
            else:
                plugin = holders[plugin.name] = with_manifest(plugin)
            known.append(plugin)
        return cls(tuple(known))

    def entries(self, kind: str | None = None) -> tuple[Entry, ...]:
        """All components, those of one kind, or all verbs; by kind, then name, then order of plugins. Raises
        UserError for an unknown kind."""
        if kind not in (None, *_ORDER):
            raise UserError(f"unknown kind {kind!r}{nearest(str(kind), KINDS)}")
        entries = (entry for plugin in self.plugins if plugin.manifest for entry in plugin.manifest.entries)
        chosen = (entry for entry in entries if entry.kind in ([kind] if kind else KINDS))
        return tuple(sorted(chosen, key=lambda entry: (_ORDER[entry.kind], entry.name)))

    def find(self, kind: str, name: str) -> Entry:
        """The component of `kind`, or the verb, called `name` or `plugin/name`. A bare name that is one of
        ours stays ours, with a warning in the log, whatever a stranger's plugin calls its own.

        Raises UserError when there is none, or when a bare name could mean several."""
        owner, slash, name = name.rpartition("/")
        if slash:
            self._check_plugin(owner)
        known = [entry for entry in self.entries(kind) if owner in ("", entry.plugin)]
        matches = [entry for entry in known if entry.name == name]
        ours = [entry for entry in matches if entry.plugin in OURS] if len(matches) > 1 else matches
        if len(ours) == 1:
            _warn_of_others(ours[0], tuple(entry.plugin for entry in matches if entry is not ours[0]))
            return ours[0]
        if matches:
            choices = " or ".join(f"{entry.plugin}/{name}" for entry in matches)
            raise UserError(f"{kind} {name!r} is in several plugins; write {choices}")
        problem = f"plugin {owner} has no {kind} {name!r}" if slash else f"unknown {kind} {name!r}"
        alike = (entry for entry in (*self.entries(), *self.entries(VERB)) if entry.name == name)
        kinds = (f" (it is of kind {entry.kind})" for entry in alike if owner in ("", entry.plugin))
        problem += next(kinds, "")
        problem += nearest(name, (entry.name for entry in known))
        unread = sorted({plugin.name for plugin in self.plugins if plugin.error})
        if unread and not slash:
            problem += f"; not searched: {', '.join(unread)}"
        raise UserError(problem)

    def defaults(self, kind: str) -> tuple[Entry, ...]:
        """What a spec without the key of `kind` gets: the defaults of the first plugin that has any."""
        defaults = [entry for entry in self.entries(kind) if entry.default]
        owners = {entry.plugin for entry in defaults}
        first = next((plugin.name for plugin in self.plugins if plugin.name in owners), None)
        return tuple(entry for entry in defaults if entry.plugin == first)

    def load(self, entry: Entry) -> type:
        """Imports the class of a component. Raises UserError, naming plugin, version and cause, whatever goes
        wrong in the plugin's code, and for what is no attrs class with a method `build`."""
        cls = self._import(entry)
        if not (isinstance(cls, type) and attrs.has(cls)):
            raise UserError(f"{_cannot_import(entry)}: it is no attrs class")
        if not callable(getattr(cls, "build", None)):
            raise UserError(f"{_cannot_import(entry)}: it has no method 'build'")
        return cls

    def load_verb(self, entry: Entry) -> Command:
        """Imports the command of a verb. Raises UserError, as `load`, and for what is no `click.Command`."""
        import click  # here, since a library needs no command line

        command = self._import(entry)
        if not isinstance(command, click.Command):
            raise UserError(f"{_cannot_import(entry)}: it is no click command")
        return command

    def load_hooks(self, plugin: Plugin) -> ModuleType | None:
        """Imports the module of a plugin's own hooks, where it has one. Raises UserError, naming plugin and
        cause."""
        if plugin.manifest is None or plugin.manifest.hooks is None:
            return None
        with _refusing(f"{plugin}: cannot import its hooks {plugin.manifest.hooks}"):
            return importlib.import_module(plugin.manifest.hooks)

    def _import(self, entry: Entry) -> Any:
        plugin = next((p for p in self.plugins if p.name == entry.plugin), None)
        if plugin and plugin.blocked:
            raise UserError(f"{plugin}: {plugin.error}")
        module, _, name = entry.use.partition(":")
        with _refusing(_cannot_import(entry)), told_if_slow(f"importing {entry.use} of {entry.owner}"):
            if plugin and plugin.private and plugin.path:
                return getattr(_import_beside(plugin.path, module), name)
            return getattr(importlib.import_module(module), name)

    def broken(self) -> tuple[Plugin, ...]:
        """The plugins that do not work, without those that are blocked."""
        return tuple(plugin for plugin in self.plugins if plugin.error and not plugin.blocked)

    def _check_plugin(self, name: str) -> None:
        """Raises UserError unless there is a working plugin of this name."""
        plugins = [plugin for plugin in self.plugins if plugin.name == name]
        if not plugins:
            allowed = nearest(name, (plugin.name for plugin in self.plugins))
            is_path = name.startswith(("/", ".", "~"))
            path = "; a path is a key of a component: { use = NAME, path = FILE }" * is_path
            raise UserError(f"no plugin {name!r}{allowed}{path}")
        if all(plugin.error for plugin in plugins):
            raise UserError(f"{plugins[0]}: {plugins[0].error}")


@functools.cache
def _warn_of_others(taken: Entry, others: tuple[str, ...]) -> None:
    for other in others:
        message = "%s %r: taking that of %s; %s has one of this name too: write %s/%s for it"
        log.warning(message, taken.kind, taken.name, taken.plugin, other, other, taken.name)


def listed() -> tuple[set[str], set[str]]:
    """The plugins that the environment allows, and those that it blocks, by name."""
    names = [name.strip() for name in os.environ.get(PLUGINS, "").split(",")]
    blocked = {name[1:].strip() for name in names if name.startswith("-")} - {""}
    return {name for name in names if name and not name.startswith("-")}, blocked


def _cannot_import(entry: Entry) -> str:
    return f"{entry.owner}: cannot import {entry.use}"


@contextmanager
def _refusing(problem: str) -> Iterator[None]:
    """Whatever a plugin's code raises becomes a UserError: SystemExit too, for it may not end the program."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as cause:
        raise UserError(f"{problem}: {one_line(cause)}") from cause


def _import_beside(manifest: Path, name: str) -> ModuleType:
    """Imports a module of a private plugin. Its folder goes last on sys.path, so that it hides nothing;
    ImportError when another module hides one of the folder's."""
    folder = manifest.parent.resolve()
    if folder.name == name.partition(".")[0]:  # the manifest stands within the package
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for part in accumulate(name.split("."), "{}.{}".format):
        module = importlib.import_module(part)
        base = folder.joinpath(*part.split("."))
        own = next((file for file in (base / "__init__.py", Path(f"{base}.py")) if file.is_file()), None)
        origin = getattr(module, "__file__", None) or "a built-in module"
        if own and Path(origin).resolve() != own.resolve():
            raise ImportError(f"{origin} hides {own}; give that another name")
    return module
