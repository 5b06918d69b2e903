"""Manifests: `registry.toml`, which lists what a plugin has. Data only; reading it imports nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnetbk import toml_places
from resnetbk.errors import Mistake, UserError, nearest, printable
from resnetbk.kinds import KINDS
from resnetbk.registry.contract import CAPABILITIES
from resnetbk.registry.entry import VERB, Entry, Manifest

SCHEMA = 1
"""The number of the format that is read here."""

_ENTRY_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
# also of names that are not in the file: an entry point's, a folder's
_PLUGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?")
_OTHER_KEYS = ("schema", "plugin")
_ENTRY_KEYS = ("use", "summary", "provides", "requires", "conflicts", "paper", "default", "api", "needs")
_VERB_KEYS = ("use", "summary")
_PLUGIN_KEYS = ("name", "hooks")
# Kinds whose spec key takes a list, so that a plugin may have several defaults.
_SEVERAL = frozenset({"observer"})


def read_manifest(path: Path, plugin: str, version: str) -> Manifest:
    """The manifest at `path` of a plugin known as `plugin`. Raises UserError with every mistake in it."""
    return _Reader(path, plugin, version).manifest()


def own_name(path: Path) -> str:
    """The plugin's name in a manifest that no distribution installed: `name` of its table `[plugin]`, else
    the name of its folder. Mistakes are left to `read_manifest`."""
    folder = os.path.basename(os.path.realpath(path.parent))  # which, unlike resolve, survives loops
    try:
        table = toml_places.load(path)[0].get("plugin")
    except UserError:
        return folder
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) and _PLUGIN_NAME.fullmatch(name) else folder


class _Reader:
    """Reads a manifest and collects its mistakes."""

    def __init__(self, path: Path, plugin: str, version: str) -> None:
        self.plugin, self.version = plugin, version
        self.file = printable(str(path))
        self.root, self.lines = toml_places.load(path)
        self.mistakes: list[tuple[int, str]] = []

    def manifest(self) -> Manifest:
        self._schema()
        self._refuse()  # a file of another schema is not read any further
        if not _PLUGIN_NAME.fullmatch(self.plugin):
            how = 'letters, digits, ".", "_" and "-"; [plugin] name = "..." names a private one'
            self._wrong((), f"{self.plugin!r} is no name for a plugin; write {how}")
        hooks = self._plugin_table()
        kinds = (*KINDS, VERB)
        entries = [entry for kind in self.root if kind in kinds for entry in self._entries(kind)]
        for key in self.root:
            if key not in (*kinds, *_OTHER_KEYS):
                self._wrong((), f"unknown kind {key!r}{nearest(key, [*kinds, *_OTHER_KEYS])}", key)
        self._refuse()
        return Manifest(tuple(entries), hooks)

    def _refuse(self) -> None:
        """Raises UserError when there are mistakes."""
        if self.mistakes:
            in_order = sorted(self.mistakes, key=lambda mistake: mistake[0])
            raise UserError(*(Mistake(f"{self.file}:{line}", message) for line, message in in_order))

    def _schema(self) -> None:
        schema, keys = self.root.get("schema"), ("schema",)
        if type(schema) is not int:  # True is an int too
            self._wrong(keys, f"the file must say schema = {SCHEMA}")
        elif schema > SCHEMA:
            self._wrong(keys, f"{schema} is newer than {SCHEMA}, the newest known here; upgrade resnetbk")
        elif schema < SCHEMA:
            self._wrong(keys, f"{schema} is older than {SCHEMA}, the oldest known; upgrade {self.plugin}")

    def _plugin_table(self) -> str | None:
        """Checks `[plugin]`, and returns its hooks."""
        keys = ("plugin",)
        table = self._table(self.root.get("plugin", {}), keys, _PLUGIN_KEYS)
        name = self._text(table, (*keys, "name"))
        if name and name != self.plugin:
            self._wrong((*keys, "name"), f"{name!r}, but the plugin is installed as {self.plugin!r}")
        hooks = self._text(table, (*keys, "hooks"))
        if hooks and not _dotted(hooks):
            self._wrong((*keys, "hooks"), f'{hooks!r} is no module; write "package.module"')
        return hooks or None

    def _entries(self, kind: str) -> list[Entry]:
        table = self._table(self.root[kind], (kind,))
        entries = [self._entry(kind, name, table[name]) for name in table]
        defaults = [entry for entry in entries if entry.default]
        for entry in () if kind in _SEVERAL else defaults[1:]:
            keys = (kind, entry.name, "default")
            self._wrong(keys, f"{defaults[0].name!r} is the default of this kind already")
        return entries

    def _entry(self, kind: str, name: str, value: object) -> Entry:
        keys = (kind, name)
        noun, example = ("verb", "command") if kind == VERB else ("component", "Class")
        if not _ENTRY_NAME.fullmatch(name):
            self._wrong((kind,), f'{name!r} is no name for a {noun}; write a-z, 0-9 and "-"', name)
        table = self._table(value, keys, _VERB_KEYS if kind == VERB else _ENTRY_KEYS, ("use", "summary"))
        use = self._text(table, (*keys, "use"))
        module, _, attribute = use.partition(":")
        if use and not (_dotted(module) and attribute.isidentifier()):
            self._wrong((*keys, "use"), f'{use!r} is no {example.lower()}; write "package.module:{example}"')
        own = KINDS[kind].api if kind in KINDS else 0  # verbs have no such key
        api = table.get("api", own) if kind in KINDS else own
        if type(api) is not int:
            self._wrong((*keys, "api"), f"must be a whole number, not {_shown(api)}")
        elif api != own:
            problem = f"made for version {api} of this kind, which is {own} here"
            self._wrong((*keys, "api"), f"{problem}; upgrade {'resnetbk' if api > own else self.plugin}")
        default = table.get("default", False)
        if not isinstance(default, bool):
            self._wrong((*keys, "default"), f"must be true or false, not {_shown(default)}")
        summary, paper = (self._text(table, (*keys, key)) for key in ("summary", "paper"))
        provides, requires, conflicts = (
            self._capabilities(table, (*keys, key)) for key in ("provides", "requires", "conflicts")
        )
        return Entry(
            kind=kind, name=name, plugin=self.plugin, version=self.version, use=use, summary=summary,
            provides=provides, requires=requires, conflicts=conflicts, paper=paper, default=default is True,
            needs=self._needs(table.get("needs", {}), (*keys, "needs")),
            place=f"{self.file}:{self._line(keys)}",
        )  # fmt: skip

    def _table(
        self, value: object, keys: tuple[str, ...], allowed: Sequence[str] = (), required: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The table at `keys`, whose own keys are those allowed, where any are given."""
        if not isinstance(value, dict):
            self._wrong(keys, f"must be a table, not {_shown(value)}")
            return {}
        for key in value:
            if allowed and key not in allowed:
                self._wrong(keys, f"unknown key {key!r}{nearest(key, allowed)}", key)
        for key in required:
            if key not in value:
                self._wrong(keys, f"{key!r} is missing")
        return value

    def _text(self, table: dict[str, Any], keys: tuple[str, ...]) -> str:
        """A line of text, "" where the key is left out. Only a paper may be empty."""
        if keys[-1] not in table:
            return ""
        value = table[keys[-1]]
        if isinstance(value, str) and value.isprintable() and (value.strip() or keys[-1] == "paper"):
            return value
        self._wrong(keys, f"must be one line of text, not {_shown(value)}")
        return ""

    def _capabilities(self, table: dict[str, Any], keys: tuple[str, ...]) -> frozenset[str]:
        values = table.get(keys[-1], [])
        if not isinstance(values, list):
            self._wrong(keys, f"must be a list of capabilities, not {_shown(values)}")
            return frozenset()
        for i, value in enumerate(values):
            if value not in [*CAPABILITIES]:  # a list, since a value may be one
                self._wrong(keys, f"unknown capability {_shown(value)}{nearest(str(value), CAPABILITIES)}", i)
        return frozenset(map(str, values))

    def _needs(self, value: object, keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        table = self._table(value, keys)
        for name, what in table.items():
            if not (name.isidentifier() and isinstance(what, str) and _REQUIREMENT.fullmatch(what)):
                form = 'write module = "package[extra]"'
                self._wrong(keys, f"{_shown(what)} is nothing to install; {form}", name)
        return tuple((name, str(what)) for name, what in table.items())

    def _wrong(self, keys: tuple[str, ...], message: str, *below: str | int) -> None:
        """Notes a mistake about `keys`, or about what is `below` them."""
        text = f"{'.'.join(keys)}: {message}" if keys else message
        self.mistakes.append((self._line((*keys, *below)), printable(text)))

    def _line(self, keys: tuple[str | int, ...]) -> int:
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 1)


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _shown(value: object) -> str:
    """A value of the file in one short line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
