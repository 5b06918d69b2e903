"""The keys of a component and what each takes: as JSON Schema for editors, in words for `show` and the
reference."""

from __future__ import annotations

import enum
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs

from resnetbk.spec.reader import ARRAYS, MAPPINGS
from resnetbk.spec.spec import Part

Tree: TypeAlias = dict[str, Any]
Table: TypeAlias = Callable[[type], Tree]

_INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
_SCALARS: dict[Any, Tree] = {
    bool: {"type": "boolean"},
    int: {"type": "integer", **_INT64},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string"},
    Any: {},
    object: {},
}
_COMPARED = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


@attrs.frozen
class Key:
    """A key of a component, or of a table within one of its keys.

    path     `("layers",)`, or `("blocks", "width")` for a key of each table in `blocks`
    type     of Python, with `table` for a class of keys
    allowed  which values of that type, "" for all, or where the component alone knows
    default  as in Python; `(required)`, or `(from the other keys)`
    """

    path: tuple[str, ...]
    type: str
    allowed: str
    default: str


def keys(component: type) -> list[Key]:
    """All keys of a component's class in order, each before those within it."""
    return list(_keys(component, (), ()))


def _keys(cls: type, path: tuple[str, ...], within: tuple[type, ...]) -> Iterator[Key]:
    for field in spec_fields(cls):
        here = (*path, field.alias or field.name)
        allowed = _words(field_schema(field, lambda _: {}))
        yield Key(here, _type_name(field.type), allowed, _default(field.default))
        for table in _tables(field.type):
            if table not in (cls, *within, Part):  # of which each component has its own keys
                yield from _keys(table, here, (cls, *within))


def spec_fields(cls: type) -> list[attrs.Attribute[Any]]:
    """The fields that a spec may set, their types resolved where that is possible."""
    with suppress(Exception):  # names that only type checkers see; a spec that uses the component says so
        attrs.resolve_types(cls)
    return [field for field in attrs.fields(cls) if field.init]


def field_schema(field: attrs.Attribute[Any], table: Table) -> Tree:
    """What a key takes that chooses no component; `table` gives the schema of an attrs class."""
    pattern = {"pattern": f"^({p})$"} if (p := field.metadata.get("pattern")) else {}
    return _type_schema(field.type, table) | _bounds(field.validator) | pattern


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


def _type_schema(type_: Any, table: Table) -> Tree:
    """As `spec.reader` takes it."""
    origin, items = get_origin(type_) or type_, get_args(type_)
    if origin is Annotated:
        return _type_schema(items[0], table)
    if type_ in _SCALARS:
        return dict(_SCALARS[type_])
    if origin is Literal:
        return {"enum": list(items)}
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return {"enum": [member.value for member in type_]}
    if origin in (Union, types.UnionType):
        options = [_type_schema(item, table) for item in items if item is not types.NoneType]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is tuple and items and items[-1] is not Ellipsis:
        schemas = [_type_schema(item, table) for item in items]
        return {"type": "array", "items": schemas, "minItems": len(items), "maxItems": len(items)}
    if origin in ARRAYS:
        return {"type": "array", "items": _type_schema(items[0] if items else Any, table)}
    if origin in MAPPINGS:
        return {"type": "object", "additionalProperties": _type_schema(items[1] if items else Any, table)}
    if isinstance(type_, type) and attrs.has(type_):
        return table(type_)
    return {"not": {}}


def _bounds(validator: Any) -> Tree:
    """What a validator of attrs requires of a value."""
    parts = getattr(validator, "_validators", None) or getattr(validator, "validator", None)
    if parts:  # of `and_`, and of `optional`
        several = parts if isinstance(parts, tuple) else (parts,)
        return {key: bound for part in several for key, bound in _bounds(part).items()}
    if member := getattr(validator, "member_validator", None):  # of `deep_iterable`
        return {"allOf": [{"items": _bounds(member)}]} | _bounds(validator.iterable_validator)
    if value := getattr(validator, "value_validator", None):  # of `deep_mapping`
        return {"allOf": [{"additionalProperties": _bounds(value)}]}
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


def _words(tree: Tree) -> str:
    """The bounds in a schema: `> 0, <= 1`, `'rms' or 'layer'`, `not empty`, `each >= 1`."""
    if "enum" in tree:
        return " or ".join(map(repr, tree["enum"]))
    said = [
        f"{sign} {_number(tree[key])}"
        for sign, key in _COMPARED.items()
        if key in tree and tree[key] != _INT64.get(key)
    ]
    if least := tree.get("minLength"):
        said.append("not empty" if least == 1 else f"{least} or more")
    if "pattern" in tree:
        said.append(f"like {tree['pattern']}")
    said += [f"each {words}" for words in _each(tree.get("items")) + _each(tree.get("additionalProperties"))]
    said += _each(tree.get("allOf"))
    said.append(" or ".join(_each(tree.get("anyOf"))))
    return ", ".join(dict.fromkeys(filter(None, said)))


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _each(trees: Tree | list[Tree] | None) -> list[str]:
    """The words for one schema or several, where they say something, each once."""
    several = trees if isinstance(trees, list) else [trees] if trees else []
    return list(dict.fromkeys(filter(None, map(_words, several))))


def _tables(type_: Any) -> Iterator[type]:
    """The attrs classes in a type, each once."""
    origin = get_origin(type_)
    if origin is None and isinstance(type_, type) and attrs.has(type_):
        yield type_
    if origin is not Literal:
        yield from dict.fromkeys(table for item in get_args(type_) for table in _tables(item))


def _type_name(type_: Any) -> str:
    """As a reader of a spec wants it."""
    origin, items = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return _type_name(items[0])
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        origin, items = Literal, tuple(member.value for member in type_)
    if origin is Literal:
        return " | ".join(dict.fromkeys(type(item).__name__ for item in items))
    if origin in (Union, types.UnionType):
        return " | ".join(map(_type_name, items))
    if isinstance(type_, type) and origin is None:
        if type_ is Part:
            return "component"
        return "table" if attrs.has(type_) else "None" if type_ is types.NoneType else type_.__name__
    if not items or not isinstance(origin, type):
        return "..." if type_ is Ellipsis else str(type_).replace("typing.", "")
    return f"{origin.__name__}[{', '.join(map(_type_name, items))}]"


def _default(value: Any) -> str:
    """What a key is when it is left out."""
    if value is attrs.NOTHING:
        return "(required)"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        if value.takes_self:
            return "(from the other keys)"
        try:
            value = value.factory()
        except Exception as error:  # the component's own mistake
            return f"(fails: {type(error).__name__})"
    if isinstance(value, enum.Enum):
        value = value.value
    return repr(attrs.asdict(value) if attrs.has(type(value)) else value)
