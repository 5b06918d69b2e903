"""What a manifest says: the entries of its components and verbs."""

from __future__ import annotations

import attrs

VERB = "verb"
"""The table of commands, beside those of the kinds: `[verb.compare]`, with `use` and `summary`."""


@attrs.frozen
class Entry:
    """One component, or one verb of the command line, as its manifest describes it; nothing is imported.

    kind     of the component, or `verb`
    version  of the plugin's distribution, "" when unknown
    use      "package.module:Class", or "package.module:command" of a verb
    paper    where the idea comes from; may be empty
    default  what a spec gets when it leaves the key of this kind out
    place    "path/registry.toml:12"
    """

    kind: str
    name: str
    plugin: str
    version: str
    use: str
    summary: str
    provides: frozenset[str]
    requires: frozenset[str]
    conflicts: frozenset[str]
    paper: str = ""
    default: bool = False
    place: str = ""

    @property
    def owner(self) -> str:
        """The plugin and its version, for messages."""
        return f"plugin {self.plugin} {self.version}".rstrip()


@attrs.frozen
class Manifest:
    """All that one `registry.toml` says. `hooks` is a module of observers' hooks, or None."""

    entries: tuple[Entry, ...]
    hooks: str | None
