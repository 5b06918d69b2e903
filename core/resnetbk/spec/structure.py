"""A document's tree becomes a Spec: components are found, built from their tables, and asked to agree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import attrs

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.registry.contract import breaches
from resnetbk.spec import strict
from resnetbk.spec.problem import Problem, Refused, Unfit, each, one_line, shortened
from resnetbk.spec.spec import Data, Model, Part, Spec, Train, parts
from resnetbk.spec.table import assemble

if TYPE_CHECKING:
    from resnetbk.registry import Entry, Registry
    from resnetbk.spec.table import Attribute

GOAL = frozenset({"causal"})
"""What a language model must be: no position sees what it predicts."""

_MODEL_KEYS = {kind.key for kind in KINDS.values() if kind.key.startswith("model.")}


def structure(tree: Mapping[str, Any], registry: Registry) -> Spec:
    """The spec that `tree` describes, defaults filled in. Raises Refused with everything that is wrong."""
    work = _Structure(registry)
    problems: list[Problem] = []
    try:
        spec: Spec = work.converter.structure(tree, Spec)
    except Refused as refused:
        problems += refused.problems
    if (
        work.chosen.keys() >= _MODEL_KEYS
    ):  # else what one part requires may be what another, unknown, provides
        for key, message in breaches(work.chosen, GOAL):
            path = tuple(key.split("."))
            problems.append(Problem(path, path, message))
    if not problems:
        problems += [problem for key, part in parts(spec) for problem in _objections(key, part, spec)]
    if problems:
        raise Refused(*problems)
    return spec


def part(registry: Registry, kind: str, value: Any) -> Part:
    """One component, from its name or its table. Raises Refused."""
    return _Structure(registry).part(kind, value)


def _objections(key: str, part: Part, spec: Spec) -> list[Problem]:
    """What a component's own `check(spec)`, if it has one, holds against the spec it is in."""
    path: tuple[str | int, ...] = tuple(
        int(step) if step.isdigit() else step for step in re.findall(r"[a-z]+|[0-9]+", key)
    )
    check = getattr(part.component, "check", None)
    try:
        if callable(check):
            check(spec)
    except UserError as error:
        return [Problem(path, path, shortened(str(mistake))) for mistake in error.mistakes]
    except ValueError as error:
        return [Problem(path, path, shortened(one_line(error)))]
    except Exception as error:  # the component's own mistake
        where = f"{part.entry.plugin}/{part.name}"
        return [Problem(path, path, f"{where}: its check fails: {one_line(error)}")]
    return []


class _Structure:
    """One spec in the making. `chosen` holds the components found so far, by spec key; of several observers
    the last."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.chosen: dict[str, Entry] = {}
        self.converter = strict.converter()
        for cls in (Spec, Data, Model, Train):
            self.converter.register_structure_hook(cls, self._table)

    def _table(self, value: Any, cls: type) -> Any:
        return assemble(cls, value, self._field, self._absent)

    def _field(self, field: Attribute, value: Any) -> Any:
        kind = field.metadata.get("kind")
        if kind is None:
            return self.converter.structure(value, cast(Any, field.type))
        if field.type is Part:
            return self.part(kind, value)
        if type(value) is not list:
            raise Unfit("an array of components", value)
        return tuple(each(enumerate(value), lambda item: self.part(kind, item)))

    def _absent(self, field: Attribute) -> Any:
        """The registry's defaults; NOTHING for a key that chooses no component, or has no default."""
        kind = field.metadata.get("kind")
        entries = self.registry.defaults(kind) if kind else ()
        if not entries:
            return attrs.NOTHING
        parts = tuple(self._built(entry, {}) for entry in entries)
        return parts[0] if field.type is Part else parts

    def part(self, kind: str, value: Any) -> Part:
        """A component by its name, or by a table with its name under `use` and its settings."""
        if type(value) is str:
            return self._built(self._found(kind, value, ()), {})
        if type(value) is not dict:
            raise Unfit("a component's name or a table", value)
        settings = {key: item for key, item in value.items() if key != "use"}
        if "use" in value:
            (name,) = each([("use", value["use"])], lambda use: self.converter.structure(use, str))
            return self._built(self._found(kind, name, ("use",)), settings)
        defaults = self.registry.defaults(kind)
        if len(defaults) != 1:
            raise Refused(Problem((), (), f"missing key 'use', the name of a {kind}"))
        return self._built(defaults[0], settings)

    def _found(self, kind: str, name: str, at: tuple[str, ...]) -> Entry:
        try:
            return self.registry.find(kind, name)
        except UserError as error:
            raise Refused(*(Problem(at, (), shortened(str(mistake))) for mistake in error.mistakes)) from None

    def _built(self, entry: Entry, settings: dict[str, Any]) -> Part:
        self.chosen[KINDS[entry.kind].key] = entry
        try:
            return Part(entry, self.converter.structure(settings, self.registry.load(entry)))
        except Refused:
            raise
        except UserError as error:
            raise Refused(*(Problem((), (), shortened(str(mistake))) for mistake in error.mistakes)) from None
        except Exception as error:  # a class that cannot be looked at, or that cannot be made
            raise Refused(Problem((), (), f"{entry.plugin}/{entry.name}: {one_line(error)}")) from None
