"""JSON Schema (draft 7) of specs, with all installed components: for completion and checks in an editor.

It has what a file alone shows: keys, types, bounds, names. The rest is left to `resnetbk check`: the file
that is extended, and conditions on several components or values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.registry.contract import breaches
from resnetbk.spec.read import GOAL
from resnetbk.spec.spec import Layered, Model, Part, Spec
from resnetbk_authoring.keys import Tree, field_schema, key_notes

if TYPE_CHECKING:
    from resnetbk.registry import Entry, Registry


LAYERS: Tree = {"type": "integer", "minimum": 1, "description": "for how many layers, one after the other"}


def schema(registry: Registry) -> Tree:
    """For files that stand alone, and for those that change another: those may leave any key out.

    A component that cannot be imported is left out.
    """
    components = _Components(registry)
    whole, change = (components.table(Spec, whole=whole) for whole in (True, False))
    change["properties"] = {"extends": {"type": "string", "description": "the file this one changes"}} | (
        change["properties"]
    )
    change["required"] = ["extends"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "resnetbk spec",
        "oneOf": [whole, change],
        "definitions": components.definitions,
    }


class _Components:
    """Definitions that tables refer to: each kind twice, for whole files and for changes."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.definitions: Tree = {}
        for kind in KINDS:
            loaded = dict(self._loaded(kind))
            for whole in (True, False):
                self.definitions[_label(kind, whole)] = self._kind(kind, loaded, whole, {})
            if kind in _layered():
                self.definitions[_entry(kind)] = self._kind(kind, loaded, True, {"layers": LAYERS})

    def table(self, cls: type, *, whole: bool, use: Tree | None = None, beside: Tree | None = None) -> Tree:
        """An attrs class as a table. use: the schema of the key that names a component. beside: of other
        keys than its fields."""
        fields = {field.alias: field for field in attrs.fields(attrs.resolve_types(cls)) if field.init}
        notes = key_notes(cls, fields)
        properties = {"use": use} if use else {}
        for key, field in fields.items():
            note = {"description": notes[key]} if key in notes else {}
            properties[key] = self._field(field, whole) | note
        properties |= beside or {}
        table: Tree = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [key for key, field in fields.items() if self._is_required(field)]
        if use:
            required.append("use")
        if whole and required:
            table["required"] = required
        if whole and {"steps", "seconds"} <= set(properties):
            table["anyOf"] = [{"required": ["steps"]}, {"required": ["seconds"]}]
        return table

    def _is_required(self, field: attrs.Attribute[Any]) -> bool:
        kind = field.metadata.get("kind")
        return field.default is attrs.NOTHING and not (kind and self.registry.defaults(kind))

    def _field(self, field: attrs.Attribute[Any], whole: bool) -> Tree:
        kind = field.metadata.get("kind")
        if kind is None:
            return field_schema(field, lambda cls: self.table(cls, whole=whole))
        chosen = {"$ref": f"#/definitions/{_label(kind, whole)}"}
        if field.type == Layered:  # an array replaces that of a file it changes, so its entries are whole
            entry = {"$ref": f"#/definitions/{_entry(kind)}"}
            return {"anyOf": [chosen, {"type": "array", "minItems": 1, "items": entry}]}
        return chosen if field.type is Part else {"type": "array", "items": chosen}

    def _loaded(self, kind: str) -> Iterator[tuple[Entry, type]]:
        key = KINDS[kind].key
        for entry in self.registry.entries(kind):
            if not breaches({key: entry}, GOAL):
                try:
                    cls = self.registry.load(entry)
                    attrs.resolve_types(cls)
                except Exception:  # of a plugin's code; `doctor` says what it is
                    continue
                yield entry, cls

    def _kind(self, kind: str, loaded: Mapping[Entry, type], whole: bool, beside: Tree) -> Tree:
        """A component's name, or a table with its keys and those `beside` them; without `use`, those of the
        default one, or, in a change, of any."""
        names: list[str] = []
        tables: list[Tree] = []
        for entry, cls in loaded.items():
            own = [*self._bare(entry), f"{entry.plugin}/{entry.name}"]
            table = self.table(cls, whole=whole, use={"enum": own}, beside=beside)
            if not (whole and set(table["required"]) > {"use"}):
                names += own
            tables.append({"title": entry.name, "description": entry.summary} | table)
        defaults = self.registry.defaults(kind)
        bare = [cls for entry, cls in loaded.items() if not whole or [entry] == list(defaults)]
        tables += [self.table(cls, whole=whole, beside=beside) for cls in bare]
        return {"description": KINDS[kind].summary, "anyOf": [{"enum": names}, *tables]}

    def _bare(self, entry: Entry) -> list[str]:
        """The name without its plugin's, where it means this component."""
        try:
            return [entry.name] if self.registry.find(entry.kind, entry.name) == entry else []
        except UserError:
            return []


def _layered() -> set[str]:
    """The kinds that may be a pattern of layers."""
    fields = attrs.fields(attrs.resolve_types(Model))
    return {field.metadata["kind"] for field in fields if field.type == Layered}


def _entry(kind: str) -> str:
    return f"{kind} in a pattern"


def _label(kind: str, whole: bool) -> str:
    return kind if whole else f"{kind} in a change"
