"""Documents: a tree of tables, and the place of each key in a file or on the command line."""

from __future__ import annotations

import os
import re
from typing import Any

import attrs

from resnetbk import toml_places
from resnetbk.errors import Mistake, UserError, printable, shortened
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
        """Of `path`, or of the nearest table around it."""
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
    Raises UserError when it is neither."""
    place = Place(f"--set {shortened(assignment, 100)}", 0)
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
            said = f"""the value is neither TOML nor a plain word; for a string: --set '{key}="..."'"""
            raise UserError(Mistake(str(place), said)) from None
        value = text
    path = tuple(key.split("."))
    if len(path) > toml_places.DEEPEST:
        raise UserError(Mistake(str(place), f"nested deeper than {toml_places.DEEPEST} levels"))
    places: dict[Path, Place] = {path[: i + 1]: place for i in range(len(path))}
    for part in reversed(path):
        value = {part: value}
    return Document(value, places, place)


def merged(base: Document, over: Document) -> Document:
    """`over` laid over `base`: tables merge, all else is replaced. A value that names a component replaces
    the base's whole component, with defaults, even by itself; a table without `use` changes single keys.
    Raises UserError for such a table over an array of components."""
    replaced: set[Path] = set()
    below = dict(base.places)

    def merge(old: dict[str, Any], new: dict[str, Any], path: Path) -> dict[str, Any]:
        tree = dict(old)
        for key, value in new.items():
            here, before = (*path, key), old.get(key)
            if here in _COMPONENTS and isinstance(value, dict):
                if "use" in value:
                    before = None
                elif isinstance(before, list):
                    form = "is an array; write all of it, as in [{ use = NAME, layers = 3 }, NAME]"
                    named = ".".join(map(str, here))
                    raise UserError(Mistake(str(over.place(here)), f"{named}: {form}"))
                elif isinstance(before, str):
                    before = {"use": before}
                    below[*here, "use"] = base.place(here)
            if isinstance(before, dict) and isinstance(value, dict):
                tree[key] = merge(before, value, here)
            else:
                tree[key] = value
                replaced.add(here)
        return tree

    tree = merge(base.tree, over.tree, ())
    lost = {path for path in below if any(path[: i + 1] in replaced for i in range(len(path)))}
    unreplaced = {path: place for path, place in below.items() if path not in lost}
    if over.whole.line:
        return Document(tree, unreplaced | over.places, over.whole)
    return Document(tree, over.places | unreplaced, base.whole)  # a --set does not move a table


def _document(loaded: tuple[dict[str, Any], Places], name: str) -> Document:
    tree, lines = loaded
    shown = printable(name)
    return Document(tree, {path: Place(shown, line) for path, line in lines.items()}, Place(shown, 1))


def _extended(document: Document, *names: str) -> Document:
    """`document` over what its `extends` names, and that over what its own does. names: the files so far."""
    if "extends" not in document.tree:
        return document
    place = str(document.place(("extends",)))
    base = document.tree.pop("extends")
    if not isinstance(base, str):
        raise UserError(Mistake(place, "extends: expects the path of one file, as a string"))
    name = os.path.join(os.path.dirname(names[-1]), base)
    if "\0" not in name and os.path.realpath(name) in map(os.path.realpath, names):
        circle = " -> ".join(map(printable, [*names, name]))
        raise UserError(Mistake(place, f"extends: goes round: {circle}"))
    try:
        loaded = _document(toml_places.load(name), name)
    except UserError as error:
        (mistake,) = error.mistakes
        if mistake.place == printable(name):  # it has no line: the file was not read
            raise UserError(Mistake(place, f"extends: {mistake}")) from None
        raise
    return merged(_extended(loaded, *names, name), document)
