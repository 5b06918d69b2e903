"""Reading a spec: every mistake in it is reported, a line for each, with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnetbk.errors import Mistake, UserError, shortened
from resnetbk.registry.contract import breaches
from resnetbk.shipped import located
from resnetbk.spec.document import Document, Place, from_file, from_set, from_text, merged
from resnetbk.spec.problem import Problem, Refused, reason
from resnetbk.spec.reader import Reader
from resnetbk.spec.spec import Part, Spec, parts

if TYPE_CHECKING:
    from resnetbk.registry import Registry

GOAL = {"causal": "a language model may not see the tokens it predicts"}
"""The capabilities that all parts of a language model provide, and why."""

PACKED = {"ragged": 'data.documents = "pack" cuts windows into documents of different lengths'}


def read(path: Path | str, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    """The spec in the file at `path`, with `sets` (`key=value`, in order) laid over it. Raises UserError with
    every mistake, each placed at `file:line`, the file named as `path` names it, or at its `--set`."""
    return finish(from_file(located(str(path))), registry, sets)


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
    reader = Reader(registry)
    problems: list[Problem] = []
    try:
        spec: Spec = reader.take(document.tree, Spec)
    except Refused as refused:
        problems += refused.problems
    problems += [Problem(_path(key), _path(key), said) for key, said in breaches(reader.entries, GOAL)]
    if not problems and spec.data.documents == "pack":
        problems += [Problem(_path(key), _path(key), said) for key, said in breaches(reader.entries, PACKED)]
    if not problems:
        problems += [problem for key, part in parts(spec) for problem in _objections(key, part, spec)]
    problems.sort(key=lambda problem: _order(document, document.place(problem.at)))
    mistakes = [_mistake(problem, document.place(problem.at)) for problem in problems]
    if mistakes or malformed:
        raise UserError(*mistakes, *malformed)
    return spec


def _objections(key: str, part: Part, spec: Spec) -> Iterator[Problem]:
    """What a component's own `check(spec)`, if it has one, refuses in the spec it is in."""
    path = _path(key)
    check = getattr(part.component, "check", None)
    try:
        if callable(check):
            check(spec)
    except UserError as error:
        yield from (Problem(path, path, shortened(str(mistake))) for mistake in error.mistakes)
    except ValueError as error:
        yield Problem(path, path, reason(error))
    except (Exception, SystemExit) as error:  # the component's own mistake
        where = f"{part.entry.plugin}/{part.name}"
        yield Problem(path, path, f"{where}: its check fails: {reason(error)}")


def _path(key: str) -> tuple[str | int, ...]:
    """`("model", "mixer", 0)` of `model.mixer[0]`."""
    return tuple(int(step) if step.isdigit() else step for step in re.findall(r"\w+", key))


def _mistake(problem: Problem, place: Place) -> Mistake:
    """With how to write a string on a command line, where TOML took its text for something else."""
    said = str(problem)
    if not place.line and "expects a string" in said:
        said += f"; for a string: --set '{'.'.join(map(str, problem.key))}=\"...\"'"
    return Mistake(str(place), said)


def _order(document: Document, place: Place) -> tuple[bool, bool, str, int]:
    """The file that was asked for comes first, then its bases, then what was set."""
    return not place.line, place.source != document.whole.source, place.source, place.line
