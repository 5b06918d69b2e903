"""Manifests: `registry.toml`, by which a plugin says what it has. Data only; reading one imports nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from resnetbk import toml_places
from resnetbk.errors import Mistake, UserError, nearest, printable
from resnetbk.kinds import KINDS
from resnetbk.registry.contract import CAPABILITIES
from resnetbk.registry.entry import VERB, Entry, Manifest

SCHEMA = 1
"""The number of the format that is read here."""

_COMPONENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
# A plugin's name comes from outside as well: an entry point's name, a folder's name.
_PLUGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OTHER_KEYS = ("schema", "plugin")
_ENTRY_KEYS = ("use", "summary", "provides", "requires", "conflicts", "paper", "default", "api")
_VERB_KEYS = ("use", "summary")
_PLUGIN_KEYS = ("name", "hooks")
# Kinds whose spec key takes a list, so that a plugin may have several defaults.
_SEVERAL = frozenset({"observer"})


def read_manifest(path: Path, plugin: str, version: str) -> Manifest:
    """The manifest at `path` of a plugin known as `plugin`. Raises UserError with every mistake in it."""
    return _Reader(path, plugin, version).manifest()


def own_name(path: Path) -> str:
    """What a manifest that no distribution installed calls its plugin: `name` of its table `[plugin]`, else
    the name of its folder. Complains about nothing; that is for `read_manifest` to do."""
    folder = os.path.basename(os.path.realpath(path.parent))  # which, unlike resolve, bears with loops
    try:
        table = toml_places.load(path)[0].get("plugin")
    except UserError:
        return folder
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) and _PLUGIN_NAME.fullmatch(name) else folder


class _Reader:
    """Reads one manifest and collects what is wrong with it."""

    def __init__(self, path: Path, plugin: str, version: str) -> None:
        self.path, self.plugin, self.version = path, plugin, version
        self.file = printable(str(path))
        self.table, self.lines = toml_places.load(path)
        self.mistakes: list[Mistake] = []

    def manifest(self) -> Manifest:
        self._schema()
        if not _PLUGIN_NAME.fullmatch(self.plugin):
            how = 'letters, digits, ".", "_" and "-"; [plugin] name = "..." names a private one'
            self._wrong((), f"{self.plugin!r} is no name for a plugin; write {how}")
        hooks = self._plugin_table()
        kinds = (*KINDS, VERB)
        entries = [entry for kind in self.table if kind in kinds for entry in self._entries(kind)]
        for key in self.table:
            if key not in (*kinds, *_OTHER_KEYS):
                self._wrong((), f"unknown kind {key!r}{nearest(key, [*kinds, *_OTHER_KEYS])}", key)
        if self.mistakes:
            raise UserError(*sorted(self.mistakes, key=self._line_of))
        return Manifest(self.plugin, self.version, self.path, tuple(entries), hooks)

    def _schema(self) -> None:
        """What another schema says is not judged, so a wrong number is the only mistake then."""
        schema, keys = self.table.get("schema"), ("schema",)
        if type(schema) is not int:  # True is an int too
            self._wrong(keys, f"the file must say schema = {SCHEMA}")
        elif schema > SCHEMA:
            self._wrong(keys, f"{schema} is newer than {SCHEMA}, the newest known here; upgrade resnetbk")
        elif schema < SCHEMA:
            self._wrong(keys, f"{schema} is older than {SCHEMA}, the oldest known; upgrade {self.plugin}")
        if self.mistakes:
            raise UserError(*self.mistakes)

    def _plugin_table(self) -> str | None:
        """Checks `[plugin]` and gives its hooks."""
        keys = ("plugin",)
        table = self._table(self.table.get("plugin", {}), keys)
        self._known(table, keys, _PLUGIN_KEYS)
        name = self._text(table, (*keys, "name"))
        if name and name != self.plugin:
            self._wrong((*keys, "name"), f"{name!r}, but the plugin is installed as {self.plugin!r}")
        hooks = self._text(table, (*keys, "hooks"))
        if hooks and not _dotted(hooks):
            self._wrong((*keys, "hooks"), f'{hooks!r} is no module; write "package.module"')
        return hooks or None

    def _entries(self, kind: str) -> list[Entry]:
        table = self._table(self.table[kind], (kind,))
        entries = [self._entry(kind, name, table[name]) for name in table]
        defaults = [entry for entry in entries if entry.default]
        if kind not in _SEVERAL:
            for entry in defaults[1:]:
                keys = (kind, entry.name, "default")
                self._wrong(keys, f"{defaults[0].name!r} is the default of this kind already")
        return entries

    def _entry(self, kind: str, name: str, value: object) -> Entry:
        keys = (kind, name)
        if not _COMPONENT_NAME.fullmatch(name):
            what = "verb" if kind == VERB else "component"
            self._wrong((kind,), f'{name!r} is no name for a {what}; write a-z, 0-9 and "-"', name)
        table = self._table(value, keys)
        self._known(table, keys, _VERB_KEYS if kind == VERB else _ENTRY_KEYS)
        for key in ("use", "summary"):
            if isinstance(value, dict) and key not in table:
                self._wrong(keys, f"{key!r} is missing")
        use = self._text(table, (*keys, "use"))
        module, _, attribute = use.partition(":")
        if use and not (_dotted(module) and attribute.isidentifier()):
            what = "command" if kind == VERB else "Class"
            self._wrong((*keys, "use"), f'{use!r} is no {what.lower()}; write "package.module:{what}"')
        if kind in KINDS:
            self._interface(table, kind, name)
        default = table.get("default", False)
        if not isinstance(default, bool):
            self._wrong((*keys, "default"), f"must be true or false, not {_shown(default)}")
        return Entry(
            kind=kind,
            name=name,
            plugin=self.plugin,
            version=self.version,
            use=use,
            summary=self._text(table, (*keys, "summary")),
            provides=self._words(table, (*keys, "provides")),
            requires=self._words(table, (*keys, "requires")),
            conflicts=self._words(table, (*keys, "conflicts")),
            paper=self._text(table, (*keys, "paper")),
            default=default is True,
            place=self._place(keys),
        )

    def _interface(self, table: dict[str, Any], kind: str, name: str) -> None:
        """A component may say for which version of its kind's interface it was made."""
        own, keys = KINDS[kind].api, (kind, name, "api")
        made = table.get("api", own)
        if type(made) is not int:
            self._wrong(keys, f"must be a whole number, not {_shown(made)}")
        elif made != own:
            side = "resnetbk" if made > own else self.plugin
            self._wrong(keys, f"made for version {made} of this kind, which is {own} here; upgrade {side}")

    def _table(self, value: object, keys: tuple[str, ...]) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._wrong(keys, f"must be a table, not {_shown(value)}")
        return {}

    def _known(self, table: dict[str, Any], keys: tuple[str, ...], allowed: tuple[str, ...]) -> None:
        for key in table:
            if key not in allowed:
                self._wrong(keys, f"unknown key {key!r}{nearest(key, allowed)}", key)

    def _text(self, table: dict[str, Any], keys: tuple[str, ...]) -> str:
        """A line of text, "" where the key is left out. Only a paper may be empty."""
        if keys[-1] not in table:
            return ""
        value = table[keys[-1]]
        if isinstance(value, str) and value.isprintable() and (value.strip() or keys[-1] == "paper"):
            return value
        self._wrong(keys, f"must be one line of text, not {_shown(value)}")
        return ""

    def _words(self, table: dict[str, Any], keys: tuple[str, ...]) -> frozenset[str]:
        value = table.get(keys[-1], [])
        if not isinstance(value, list):
            self._wrong(keys, f"must be a list of capabilities, not {_shown(value)}")
            return frozenset()
        for i, word in enumerate(value):
            if not isinstance(word, str):
                self._wrong(keys, f"must be a list of capabilities, not of {_shown(word)}", i)
            elif word not in CAPABILITIES:
                self._wrong(keys, f"unknown capability {word!r}{nearest(word, CAPABILITIES)}", i)
        return frozenset(word for word in value if isinstance(word, str))

    def _wrong(self, keys: tuple[str, ...], message: str, *below: str | int) -> None:
        """Notes a mistake about `keys`, or about what is `below` them."""
        text = f"{'.'.join(keys)}: {message}" if keys else message
        self.mistakes.append(Mistake(self._place((*keys, *below)), printable(text)))

    def _place(self, keys: tuple[str | int, ...]) -> str:
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.file}:{self.lines.get(keys, 1)}"

    @staticmethod
    def _line_of(mistake: Mistake) -> int:
        return int(mistake.place.rpartition(":")[2])


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _shown(value: object) -> str:
    """A value of the file in one short line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
