"""What a manifest says: the entries of its components and verbs."""

from __future__ import annotations

from importlib.util import find_spec

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
    needs    modules that it imports beyond its plugin's own requirements, and what pip installs for each
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
    needs: tuple[tuple[str, str], ...] = ()
    place: str = ""

    @property
    def owner(self) -> str:
        """The plugin and its version, for messages."""
        return f"plugin {self.plugin} {self.version}".rstrip()

    def missing(self) -> list[str]:
        """What it needs and is not installed, a line for each, with how to install it."""
        lacks = [(module, what) for module, what in self.needs if not _is_there(module)]
        return [f'needs {module}, which is not installed: pip install "{what}"' for module, what in lacks]


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module that was blocked
        return False


@attrs.frozen
class Manifest:
    """All that one `registry.toml` says. `hooks` is a module of observers' hooks, or None."""

    entries: tuple[Entry, ...]
    hooks: str | None
