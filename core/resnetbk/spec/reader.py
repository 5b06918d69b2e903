"""A value from TOML becomes what a type says, exactly, or is refused with every reason.

`Reader.take` is the whole of it and calls itself: for scalars, arrays, tables, attrs classes, and for the
components that a field's metadata asks for. Nothing is coerced: "false" is no bool, and 3.7 no int.
Types that it does not know (NewType, Annotated, dataclasses, ..) are cattrs', with `take` for what they hold.
"""

from __future__ import annotations

import enum
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, Sequence, Set
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs
import cattrs

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.spec.habits import habit
from resnetbk.spec.problem import MOST, Problem, Refused, Unfit, quoted, reason, shown, take_all
from resnetbk.spec.spec import Layered, Part

if TYPE_CHECKING:
    from resnetbk.registry import Entry, Registry

Field: TypeAlias = "attrs.Attribute[Any]"
Fields: TypeAlias = Mapping[str, Field]

ARRAYS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((tuple, Sequence), tuple),
    **dict.fromkeys((list, MutableSequence), list),
    **dict.fromkeys((frozenset, Set), frozenset),
    set: set,
}
MAPPINGS = (dict, Mapping, MutableMapping)
_SCALARS: dict[Any, str] = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_ANYTHING = {dict: dict[str, Any], list: list[Any], int: int, float: float}


class Reader:
    """Reads one spec, or one component.

    entries  of the components so far, by spec key; those in an array by key and index
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.entries: dict[str, Entry] = {}
        self._others = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True)
        for type_ in (*_SCALARS, Path):  # for which cattrs has hooks that come before the next one
            self._others.register_structure_hook(type_, self.take)
        self._others.register_structure_hook_func(lambda type_: self._taker(type_) is not None, self.take)

    def take(self, value: Any, type_: Any) -> Any:
        """`value` as an instance of `type_`. Raises Refused."""
        taker = self._taker(type_)
        return taker(value) if taker else self._other(value, type_)

    def _taker(self, type_: Any) -> Callable[[Any], Any] | None:
        """What reads values of a type; None for those that are left to cattrs."""
        origin, options = get_origin(type_) or type_, get_args(type_)
        if origin in (Any, object):
            return self._anything
        if origin in _SCALARS:
            return lambda value: _scalar(value, origin)
        if origin is Path:
            return lambda value: Path(_scalar(value, str))
        if origin is Literal:
            return lambda value: _one_of(value, options)
        if origin in (Union, types.UnionType):
            return lambda value: self._union(value, options)
        if origin in ARRAYS:
            return lambda value: ARRAYS[origin](self._items(value, origin, options))
        if origin in MAPPINGS:
            return lambda value: self._mapping(value, *options or (Any, Any))
        if isinstance(type_, type) and issubclass(type_, enum.Enum):
            return lambda value: type_(_one_of(value, [member.value for member in type_]))
        return (lambda value: self._table(value, type_)) if attrs.has(origin) else None

    def _other(self, value: Any, type_: Any) -> Any:
        try:
            return self._others.structure(value, type_)
        except Refused as refused:
            raise Refused(*refused.problems) if isinstance(value, (dict, list)) else refused from None
        except cattrs.StructureHandlerNotFoundError as error:
            raise Refused(f"cannot be given in a spec: its type is {error.type_}") from None
        except (Exception, SystemExit) as error:  # of a type's own code
            name = getattr(type_, "__name__", str(type_))
            raise Refused(reason(error)) if isinstance(value, dict) else Unfit(name, value) from None

    def _anything(self, value: Any) -> Any:
        """Any value of TOML, its numbers finite and of 64 bits."""
        type_ = _ANYTHING.get(type(value))
        return value if type_ is None else self.take(value, type_)

    def _union(self, value: Any, options: Sequence[Any]) -> Any:
        """The first of the types that fits. TOML has no null, so None is never what a key holds."""
        expected = []
        within: Refused | None = None  # of the right type, but wrong within
        for option in options:
            try:
                if option is not types.NoneType:
                    return self.take(value, option)
            except Unfit as unfit:
                expected.append(unfit.expects)
            except Refused as refused:
                within = within or refused
        raise within or Unfit(" or ".join(expected), value)

    def _items(self, value: Any, origin: Any, types_: Sequence[Any]) -> list[Any]:
        if type(value) is not list:
            raise Unfit("an array", value)
        expected: Iterable[Any] = repeat(types_[0] if types_ else Any)
        if origin is tuple and types_ and types_[-1] is not Ellipsis:
            if len(value) != len(types_):
                raise Refused(f"expects an array of {len(types_)}, found one of {len(value)}")
            expected = types_
        pairs = enumerate(zip(value, expected, strict=False))
        return take_all(pairs, lambda pair: self.take(*pair))

    def _mapping(self, value: Any, of_key: Any, of_item: Any) -> dict[Any, Any]:
        if type(value) is not dict:
            raise Unfit("a table", value)
        pairs = ((key, (key, item)) for key, item in value.items())
        return dict(take_all(pairs, lambda pair: (self.take(pair[0], of_key), self.take(pair[1], of_item))))

    def _table(self, table: Any, cls: type[Any], beside: Iterable[str] = ()) -> Any:
        """An attrs class. Raises Refused with every unknown and missing key, named like one of those and of
        `beside`, every value that does not fit, and what the class's validators refuse."""
        if type(table) is not dict:
            raise Unfit("a table", table)
        fields = {field.alias: field for field in attrs.fields(attrs.resolve_types(cls)) if field.init}
        unknown = [key for key in table if key not in fields][:MOST]
        problems = [Problem((key,), (), _unknown(key, (*fields, *beside))) for key in unknown]
        values = {}
        for key, field in fields.items():
            try:
                value = self._field(field, table[key]) if key in table else self._absent(field)
            except Refused as refused:
                problems += [problem.under(key) for problem in refused.problems]
            else:
                if value is not attrs.NOTHING:
                    values[key] = value
                elif field.default is attrs.NOTHING:
                    kind = field.metadata.get("kind")
                    names = f": the name of a component; resnetbk list {kind} has them" if kind else ""
                    problems.append(Problem((), (), f"missing key {key!r}{names}"))
        problems += _invalid(cls, fields, values, table)
        if problems:
            raise Refused(*problems)
        try:
            return cls(**values)
        except (Exception, SystemExit) as error:
            raise Refused(reason(error)) from None

    def _field(self, field: Field, value: Any) -> Any:
        kind = field.metadata.get("kind")
        if kind is None:
            return self.take(value, Any if field.type is None else field.type)
        if field.type is Part or (field.type == Layered and type(value) is not list):
            return self.part(kind, value)
        if type(value) is not list:
            raise Unfit("an array of components", value)
        if field.type == Layered and not value:
            raise Refused("an empty array: name the component of one layer or more")
        take = self._entry if field.type == Layered else self.part
        return tuple(take_all(enumerate(enumerate(value)), lambda item: take(kind, item[1], item[0])))

    def _entry(self, kind: str, value: Any, index: int) -> Part:
        """Of a pattern: a component, whose table may say for how many layers it is."""
        table = dict(value) if isinstance(value, dict) else value
        layers = table.pop("layers", 1) if isinstance(value, dict) else 1
        both = (None, lambda: self.part(kind, table, index, ("layers",))), ("layers", lambda: _count(layers))
        part, count = take_all(both, lambda take: take())
        return Part(part.entry, part.component, count)

    def _absent(self, field: Field) -> Any:
        """The registry's defaults; NOTHING for a key that chooses no component, or has no default."""
        kind = field.metadata.get("kind")
        parts = tuple(self._part(entry, {}) for entry in (self.registry.defaults(kind) if kind else ()))
        if not parts:
            return attrs.NOTHING
        return parts[0] if field.type in (Part, Layered) else parts

    def part(self, kind: str, value: Any, index: int | None = None, beside: tuple[str, ...] = ()) -> Part:
        """A component by its name, or a table with its name under `use` and its settings, of an item in an
        array by its index. `beside`: other keys that the table may have had. Raises Refused."""
        if not isinstance(value, (str, dict)):
            raise Unfit('the name of one component, or a table { use = "NAME" }', value)
        settings = {"use": value} if isinstance(value, str) else dict(value)
        if "use" in settings:
            (name,) = take_all([("use", settings.pop("use"))], lambda name: _scalar(name, str))
            try:
                return self._part(self.registry.find(kind, name), settings, index, beside)
            except UserError as error:
                raise Refused.of(error, ("use",)) from None
        defaults = self.registry.defaults(kind)
        if len(defaults) != 1:
            raise Refused(f"missing key 'use': the name of a component; resnetbk list {kind} has them")
        return self._part(defaults[0], settings, index, beside)

    def _part(self, entry: Entry, settings: Any, index: int | None = None, beside: Any = ()) -> Part:
        self.entries[KINDS[entry.kind].key + ("" if index is None else f"[{index}]")] = entry
        try:
            return Part(entry, self._table(settings, self.registry.load(entry), beside))
        except Refused:
            raise
        except UserError as error:
            raise Refused.of(error) from None
        except (Exception, SystemExit) as error:  # a class whose fields cannot be read
            raise Refused(f"{entry.plugin}/{entry.name}: {reason(error)}") from None


def _count(layers: Any) -> int:
    if _scalar(layers, int) < 1:
        raise Refused(f"must be at least 1, is {layers}")
    return int(layers)


def _unknown(key: str, known: Iterable[str]) -> str:
    return f"unknown key {quoted(key)}{habit(key) or nearest(key, known) or '; it takes none'}"


def _invalid(
    cls: type[Any], fields: Fields, values: Mapping[str, Any], table: Mapping[str, Any]
) -> list[Problem]:
    """What validators refuse of `values`; `__init__` would stop at the first. They receive an instance that
    lacks the fields whose keys are wrong, and may not read those."""
    instance = object.__new__(cls)
    for key, field in fields.items():
        default = field.default
        if key in values and field.converter is None:
            object.__setattr__(instance, field.name, values[key])
        elif key not in table and default is not attrs.NOTHING and type(default) is not attrs.Factory:
            object.__setattr__(instance, field.name, default)
    problems = []
    for key, field in fields.items():
        if field.validator is None or not hasattr(instance, field.name):
            continue
        try:
            field.validator(instance, field, getattr(instance, field.name))
        except (ValueError, TypeError) as error:
            problems.append(Problem((key,), (key,), reason(error).removeprefix(f"{field.name!r} ")))
        except (Exception, SystemExit):
            continue  # it read a field that is missing, which is reported already; else `__init__` raises it
    return problems


def _one_of(value: Any, options: Sequence[Any]) -> Any:
    for option in options:
        if type(value) is type(option) and value == option:
            return value
    allowed = " or ".join(map(shown, options))
    if type(value) is not str:
        raise Unfit(allowed, value)
    names = [option for option in options if isinstance(option, str)]
    close = nearest(value, names, allowed=False)
    raise Refused(f"expects {allowed}, found {quoted(value)}{close}")


def _scalar(value: Any, type_: Any) -> Any:
    if type_ is float and type(value) is int:
        value = float(_scalar(value, int))
    if type(value) is not type_:
        raise Unfit(_SCALARS[type_], value)
    if type_ is int and not -(2**63) <= value < 2**63:
        raise Unfit("an integer of 64 bits", value)
    if type_ is float and not math.isfinite(value):
        raise Unfit("a finite number", value)
    if type_ is str and _SURROGATE.search(value):  # from a command line that is no UTF-8
        raise Unfit("a string of Unicode text", value)
    return value
