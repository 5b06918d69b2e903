"""JSON Schema (draft 7) of specs, with all installed components: for completion and checks in an editor.

It has what a file alone shows: keys, types, bounds, names. The rest is left to `resnetbk check`: the file
that is extended, and conditions on several components or values.
"""

from __future__ import annotations

import enum
import inspect
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.registry.contract import breaches
from resnetbk.spec.read import GOAL
from resnetbk.spec.reader import ARRAYS, MAPPINGS
from resnetbk.spec.spec import Part, Spec

if TYPE_CHECKING:
    from resnetbk.registry import Entry, Registry

Tree: TypeAlias = dict[str, Any]

_SCALARS: dict[Any, Tree] = {
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string"},
    Any: {},
    object: {},
}

_COMPARED = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


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
                self.definitions[_label(kind, whole)] = self._kind(kind, loaded, whole)

    def table(self, cls: type, *, whole: bool, use: Tree | None = None) -> Tree:
        """An attrs class as a table. use: the schema of the key that names a component."""
        fields = {field.alias: field for field in attrs.fields(attrs.resolve_types(cls)) if field.init}
        notes = key_notes(cls, fields)
        properties = {"use": use} if use else {}
        for key, field in fields.items():
            note = {"description": notes[key]} if key in notes else {}
            properties[key] = self._field(field, whole) | note
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
            pattern = {"pattern": f"^({p})$"} if (p := field.metadata.get("pattern")) else {}
            return self._type(field.type, whole) | _bounds(field.validator) | pattern
        chosen = {"$ref": f"#/definitions/{_label(kind, whole)}"}
        return chosen if field.type is Part else {"type": "array", "items": chosen}

    def _type(self, type_: Any, whole: bool) -> Tree:
        """As `spec.reader` takes it."""
        origin, items = get_origin(type_) or type_, get_args(type_)
        if origin is Annotated:
            return self._type(items[0], whole)
        if type_ in _SCALARS:
            return dict(_SCALARS[type_])
        if origin is Literal:
            return {"enum": list(items)}
        if isinstance(type_, type) and issubclass(type_, enum.Enum):
            return {"enum": [member.value for member in type_]}
        if origin in (Union, types.UnionType):
            options = [self._type(item, whole) for item in items if item is not types.NoneType]
            return options[0] if len(options) == 1 else {"anyOf": options}
        if origin is tuple and items and items[-1] is not Ellipsis:
            schemas = [self._type(item, whole) for item in items]
            return {"type": "array", "items": schemas, "minItems": len(items), "maxItems": len(items)}
        if origin in ARRAYS:
            return {"type": "array", "items": self._type(items[0] if items else Any, whole)}
        if origin in MAPPINGS:
            of_item = self._type(items[1] if items else Any, whole)
            return {"type": "object", "additionalProperties": of_item}
        if isinstance(type_, type) and attrs.has(type_):
            return self.table(type_, whole=whole)
        return {"not": {}}

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

    def _kind(self, kind: str, loaded: Mapping[Entry, type], whole: bool) -> Tree:
        """A component's name, or a table with its keys; without `use`, those of the default one, or, in a
        change, of any."""
        names: list[str] = []
        tables: list[Tree] = []
        for entry, cls in loaded.items():
            own = [*self._bare(entry), f"{entry.plugin}/{entry.name}"]
            table = self.table(cls, whole=whole, use={"enum": own})
            if not (whole and set(table["required"]) > {"use"}):
                names += own
            tables.append({"title": entry.name, "description": entry.summary} | table)
        defaults = self.registry.defaults(kind)
        bare = [cls for entry, cls in loaded.items() if not whole or [entry] == list(defaults)]
        tables += [self.table(cls, whole=whole) for cls in bare]
        return {"description": KINDS[kind].summary, "anyOf": [{"enum": names}, *tables]}

    def _bare(self, entry: Entry) -> list[str]:
        """The name without its plugin's, where no other plugin has it too."""
        try:
            self.registry.find(entry.kind, entry.name)
        except UserError:
            return []
        return [entry.name]


def key_notes(cls: type, keys: Mapping[str, Any]) -> dict[str, str]:
    """The notes on keys in a class's docstring: lines that begin with keys, with those indented below."""
    notes: dict[str, str] = {}
    lines = (inspect.getdoc(cls) or "").splitlines()
    for number, line in enumerate(lines):
        match = re.match(r"((?:\w+, )*\w+) {2,}(?=\S)", line)
        named = [key for key in (match[1].split(", ") if match else []) if key in keys]
        if not match or not named:
            continue
        text = [line[match.end() :]]
        for below in lines[number + 1 :]:
            if not below.startswith("    "):
                break
            text.append(below.strip())
        notes.update((key, " ".join(text).strip()) for key in named)
    return notes


def _label(kind: str, whole: bool) -> str:
    return kind if whole else f"{kind} in a change"


def _bounds(validator: Any) -> Tree:
    """What a validator of attrs requires of a value."""
    parts = getattr(validator, "_validators", None) or getattr(validator, "validator", None)
    if parts:  # of `and_`, and of `optional`
        several = parts if isinstance(parts, tuple) else (parts,)
        return {key: bound for part in several for key, bound in _bounds(part).items()}
    key = _COMPARED.get(getattr(validator, "compare_op", ""))
    if key:
        return {key: validator.bound}
    if hasattr(validator, "min_length"):
        return {"minItems": validator.min_length, "minLength": validator.min_length}
    if not hasattr(validator, "options"):
        return {}
    return {
        "enum": [option.value if isinstance(option, enum.Enum) else option for option in validator.options]
    }
