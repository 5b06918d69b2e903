"""Reading a spec: every mistake in it is named, one line each, with its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnetbk import toml_places
from resnetbk.errors import Mistake, UserError
from resnetbk.spec.document import Document, Place, from_file, from_set, from_text, merged
from resnetbk.spec.problem import Problem, Refused, quoted
from resnetbk.spec.spec import Spec
from resnetbk.spec.structure import structure

if TYPE_CHECKING:
    from resnetbk.registry import Registry

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


def read(path: Path | str, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    """The spec in the file at `path`, with `sets` (`key=value`, in order) laid over it.

    Raises UserError with every mistake, each placed at `file:line`, the file named as `path` names it, or at
    the `--set` that it is in.
    """
    return finish(from_file(str(path)), registry, sets)


def read_text(text: str, registry: Registry, name: str = "<spec>", sets: Sequence[str] = ()) -> Spec:
    """`read`, from a text. What it extends is relative to the folder of `name`."""
    return finish(from_text(text, name), registry, sets)


def finish(document: Document, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    """The spec in `document`, with `sets` laid over it. Raises UserError."""
    malformed: list[Mistake] = []
    for assignment in sets:
        try:
            document = merged(document, from_set(assignment))
        except UserError as error:
            malformed += error.mistakes
    mistakes: list[Mistake] = []
    try:
        spec = structure(document.tree, registry)
    except Refused as refused:
        placed = [(document.place(problem.at), problem) for problem in refused.problems]
        placed.sort(key=lambda pair: _order(document, pair[0]))
        mistakes += [Mistake(str(place), _message(problem)) for place, problem in placed]
    if mistakes or malformed:
        raise UserError(*mistakes, *malformed)
    return spec


def _order(document: Document, place: Place) -> tuple[bool, bool, str, int]:
    """The file that was asked for comes first, then its bases, then what was set."""
    return not place.line, place.source != document.whole.source, place.source, place.line


def _message(problem: Problem) -> str:
    key = ""
    for part in problem.key:
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            key += f"{'.' if key else ''}{part if _PLAIN_KEY.fullmatch(part) else quoted(part)}"
    return toml_places.printable(f"{key}: {problem.message}" if key else problem.message)
