"""Documents: a tree of tables, and the place in a file or on the command line that each key came from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import attrs

from resnetbk import toml_places
from resnetbk.errors import Mistake, UserError, printable
from resnetbk.kinds import KINDS
from resnetbk.toml_places import Path, Places

_COMPONENTS = {tuple(kind.key.split(".")) for kind in KINDS.values()}
_SET_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_PLAIN_WORD = re.compile(r"""[^\s"'\[\]{}=,#\\]+""")


@attrs.frozen
class Place:
    """A line of a file, or, with line 0, all of what `source` names."""

    source: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@attrs.frozen
class Document:
    """A tree, the places of its paths, and the place of the whole."""

    tree: dict[str, Any]
    places: dict[Path, Place]
    whole: Place

    def place(self, path: Path) -> Place:
        """Where `path` stands, or what it would stand in."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, self.whole)


def from_file(path: str) -> Document:
    """The document at `path`, over those it extends. Raises UserError."""
    return _extended(_document(toml_places.load(path), path), path)


def from_text(text: str, name: str) -> Document:
    """The document in `text`, over those it extends; their paths are relative to the folder of `name`."""
    return _extended(_document(toml_places.parse(text, printable(name)), name), name)


def from_set(assignment: str) -> Document:
    """The document of one `--set`, such as `model.width=256`: a value of TOML, or a plain word as a string.

    Raises UserError when it is neither.
    """
    place = Place(_shortened(f"--set {assignment}"), 0)
    key, _, text = (part.strip() for part in assignment.partition("="))
    if not _SET_KEY.fullmatch(key) or not text:
        raise UserError(Mistake(str(place), "write key=value, as in model.width=256"))
    try:
        # An inline table is one line, and what follows its value shows: a comment, a comma, another key.
        tree, _ = toml_places.parse(f"table = {{ value = {text} }}", "")
        if tree.keys() != {"table"} or tree["table"].keys() != {"value"}:
            raise UserError("more than one value")
        toml_places.parse(f"value = {text}", "")  # nor does it close that table itself
        value = tree["table"]["value"]
    except UserError:
        if not _PLAIN_WORD.fullmatch(text):
            raise UserError(Mistake(str(place), "the value is neither TOML nor a plain word")) from None
        value = text
    path = tuple(key.split("."))
    if len(path) > toml_places.DEEPEST:
        raise UserError(Mistake(str(place), f"nested deeper than {toml_places.DEEPEST} levels"))
    places: dict[Path, Place] = {path[: i + 1]: place for i in range(len(path))}
    for part in reversed(path):
        value = {part: value}
    return Document(value, places, place)


def merged(base: Document, over: Document) -> Document:
    """`over` laid over `base`: tables merge, all else is replaced.

    What names a component stands for itself, with its defaults, also where it names the base's own; a table
    without `use` changes single keys of the component below it.
    """
    places: dict[Path, Place] = {}
    tree = _merge(base, over, base.tree, over.tree, (), places)
    return Document(tree, places, over.whole if over.whole.line else base.whole)


def _merge(
    base: Document,
    over: Document,
    below: dict[str, Any],
    above: dict[str, Any],
    path: Path,
    into: dict[Path, Place],
) -> dict[str, Any]:
    """The tables at `path` of both, merged; their places go `into`."""
    tree: dict[str, Any] = {}
    for key in [*below, *(key for key in above if key not in below)]:
        here = (*path, key)
        source, value = (over, above[key]) if key in above else (base, below[key])
        if key in above and key in below:
            old, new = below[key], above[key]
            if here in _COMPONENTS and isinstance(old, (str, dict)) and isinstance(new, (str, dict)):
                if isinstance(new, str) or "use" in new:
                    old = None
                elif isinstance(old, str):
                    old = {"use": old}
            if isinstance(old, dict) and isinstance(new, dict):
                # A --set is laid over a table, and does not move it.
                into[here] = over.place(here) if over.whole.line else base.place(here)
                tree[key] = _merge(base, over, old, new, here, into)
                continue
        tree[key] = value
        _adopt(source, value, here, into)
    return tree


def _adopt(source: Document, value: Any, path: Path, into: dict[Path, Place]) -> None:
    """Notes the places of all that `value` holds, as they are in `source`."""
    into[path] = source.place(path)
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        _adopt(source, item, (*path, key), into)


def _document(loaded: tuple[dict[str, Any], Places], name: str) -> Document:
    tree, lines = loaded
    shown = printable(name)
    return Document(tree, {path: Place(shown, line) for path, line in lines.items()}, Place(shown, 1))


def _extended(document: Document, name: str) -> Document:
    """`document` over what its `extends` names, and that over what its own does."""
    chain, names, seen = [document], [name], {os.path.realpath(name)}
    while "extends" in chain[-1].tree:
        place = str(chain[-1].place(("extends",)))
        base = chain[-1].tree.pop("extends")
        if not isinstance(base, str):
            raise UserError(Mistake(place, "extends: expects the path of one file, as a string"))
        name = os.path.join(os.path.dirname(name), base)
        names.append(name)
        if "\0" not in name and os.path.realpath(name) in seen:
            raise UserError(Mistake(place, f"extends: goes round: {' -> '.join(map(printable, names))}"))
        try:
            chain.append(_document(toml_places.load(name), name))
        except UserError as error:
            told = [
                m for m in error.mistakes if m.place == printable(name)
            ]  # it has no line: it was not read
            raise UserError(Mistake(place, f"extends: {told[0]}")) if told else error from None
        seen.add(os.path.realpath(name))
    whole = chain.pop()
    while chain:
        whole = merged(whole, chain.pop())
    return whole


def _shortened(text: str) -> str:
    return printable(text if len(text) <= 100 else f"{text[:99]}…")
