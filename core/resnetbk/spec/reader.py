"""A value from TOML becomes what a type says, exactly, or is refused with every reason.

`Reader.take` is the whole of it and calls itself: for scalars, arrays, tables, attrs classes, and for the
components that a field's metadata asks for. cattrs has no part in those, for its own hooks coerce
(`bool("false")` is True, `int(3.7)` is 3); it structures all other types, with `take` for what they hold.
"""

from __future__ import annotations

import enum
import math
import types
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, Sequence, Set
from difflib import get_close_matches
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs
import cattrs

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.spec.habits import habit
from resnetbk.spec.problem import MOST, Problem, Refused, Unfit, each, quoted, said
from resnetbk.spec.spec import Part

if TYPE_CHECKING:
    from resnetbk.registry import Entry, Registry

Field: TypeAlias = "attrs.Attribute[Any]"
Take: TypeAlias = Callable[[Any, Any], Any]

ARRAYS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((tuple, Sequence), tuple),
    **dict.fromkeys((list, MutableSequence), list),
    **dict.fromkeys((frozenset, Set), frozenset),
    set: set,
}
MAPPINGS = (dict, Mapping, MutableMapping)


class Reader:
    """Reads one spec, or one component. `entries` holds those of the components so far, by spec key; of
    several observers the last."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.entries: dict[str, Entry] = {}
        self._others = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True)
        for scalar in (bool, int, float, str, Path):  # cattrs asks these first
            self._others.register_structure_hook(scalar, self.take)
        self._others.register_structure_hook_func(lambda type_: self._taker(type_) is not None, self.take)

    def take(self, value: Any, type_: Any) -> Any:
        """`value` as an instance of `type_`. Raises Refused."""
        taker = self._taker(type_) or self._others.structure
        return taker(value, type_)

    def _taker(self, type_: Any) -> Take | None:
        origin: Any = get_origin(type_) or type_
        if origin in _SCALARS:
            return _SCALARS[origin]
        if origin is Literal:
            return lambda value, _: _one_of(value, get_args(type_))
        if origin in (Union, types.UnionType):
            return self._union
        if origin in ARRAYS:
            return self._array
        if origin in MAPPINGS:
            return self._mapping
        if isinstance(type_, type) and issubclass(type_, enum.Enum):
            return lambda value, _: type_(_one_of(value, [member.value for member in type_]))
        for scalar in (int, float, str):
            if isinstance(type_, type) and issubclass(type_, scalar):
                return lambda value, _: type_(self.take(value, scalar))
        return self._table if attrs.has(origin) else None

    def _union(self, value: Any, type_: Any) -> Any:
        """The first of the types that fits. TOML has no null, so None is never what a key holds."""
        refusals = []
        for option in get_args(type_):
            if option is not types.NoneType:
                try:
                    return self.take(value, option)
                except Refused as refused:
                    refusals.append(refused)
        inner = [refused for refused in refusals if not isinstance(refused, Unfit)]
        if inner:  # of the right type, but wrong within
            raise inner[0]
        raise Unfit(" or ".join(refused.expects for refused in refusals if isinstance(refused, Unfit)), value)

    def _array(self, value: Any, type_: Any) -> Any:
        origin, items = get_origin(type_) or type_, get_args(type_)
        if type(value) is not list:
            raise Unfit("an array", value)
        expected: Iterable[Any] = repeat(items[0] if items else Any)
        if origin is tuple and items and items[-1] is not Ellipsis:
            if len(value) != len(items):
                raise Refused.because(f"expects an array of {len(items)}, found one of {len(value)}")
            expected = items
        pairs = enumerate(zip(value, expected, strict=False))
        return ARRAYS[origin](each(pairs, lambda pair: self.take(*pair)))

    def _mapping(self, value: Any, type_: Any) -> dict[Any, Any]:
        if type(value) is not dict:
            raise Unfit("a table", value)
        of_key, of_item = get_args(type_) or (Any, Any)
        pairs = ((key, (key, item)) for key, item in value.items())
        return dict(each(pairs, lambda pair: (self.take(pair[0], of_key), self.take(pair[1], of_item))))

    def _table(self, table: Any, cls: type[Any]) -> Any:
        """An attrs class. Raises Refused with every unknown and missing key, every value that does not fit,
        and what the class's validators refuse."""
        if type(table) is not dict:
            raise Unfit("a table", table)
        fields = {field.alias: field for field in attrs.fields(attrs.resolve_types(cls)) if field.init}
        unknown = [key for key in table if key not in fields][:MOST]
        problems = [Problem((key,), (), _unknown(key, fields)) for key in unknown]
        values = {}
        for key, field in fields.items():
            try:
                value = self._field(field, table[key]) if key in table else self._absent(field)
            except Refused as refused:
                problems += [problem.under(key) for problem in refused.problems]
            except cattrs.StructureHandlerNotFoundError as error:
                problems.append(
                    Problem((key,), (key,), f"cannot be given in a spec: its type is {error.type_}")
                )
            except Exception as error:  # of a hook or a type that is not ours
                problems.append(Problem((key,), (key,), said(error)))
            else:
                if value is not attrs.NOTHING:
                    values[key] = value
                elif field.default is attrs.NOTHING:
                    problems.append(Problem((), (), f"missing key {key!r}"))
        if problems:
            raise Refused(*problems, *_invalid(cls, fields, values, table))
        try:
            return cls(**values)
        except Exception as error:
            problems = _invalid(cls, fields, values, table)
            raise Refused(*problems or [Problem((), (), said(error))]) from None

    def _field(self, field: Field, value: Any) -> Any:
        kind = field.metadata.get("kind")
        if kind is None:
            return self.take(value, Any if field.type is None else field.type)
        if field.type is Part:
            return self.part(kind, value)
        if type(value) is not list:
            raise Unfit("an array of components", value)
        return tuple(each(enumerate(value), lambda item: self.part(kind, item)))

    def _absent(self, field: Field) -> Any:
        """The registry's defaults; NOTHING for a key that chooses no component, or has no default."""
        kind = field.metadata.get("kind")
        entries = self.registry.defaults(kind) if kind else ()
        if not entries:
            return attrs.NOTHING
        parts = tuple(self._part(entry, {}) for entry in entries)
        return parts[0] if field.type is Part else parts

    def part(self, kind: str, value: Any) -> Part:
        """A component by its name, or a table with its name under `use` and its settings. Raises Refused."""
        if type(value) is str:
            return self._part(self._entry(kind, value, ()), {})
        if type(value) is not dict:
            raise Unfit("a component's name or a table", value)
        settings = {key: item for key, item in value.items() if key != "use"}
        if "use" in value:
            (name,) = each([("use", value["use"])], lambda use: self.take(use, str))
            return self._part(self._entry(kind, name, ("use",)), settings)
        defaults = self.registry.defaults(kind)
        if len(defaults) != 1:
            raise Refused.because(f"missing key 'use', the name of a {kind}")
        return self._part(defaults[0], settings)

    def _entry(self, kind: str, name: str, at: tuple[str, ...]) -> Entry:
        try:
            return self.registry.find(kind, name)
        except UserError as error:
            raise Refused.of(error, at) from None

    def _part(self, entry: Entry, settings: dict[str, Any]) -> Part:
        self.entries[KINDS[entry.kind].key] = entry
        try:
            return Part(entry, self.take(settings, self.registry.load(entry)))
        except Refused:
            raise
        except UserError as error:
            raise Refused.of(error) from None
        except Exception as error:  # a class that cannot be looked at, or that cannot be made
            raise Refused.because(f"{entry.plugin}/{entry.name}: {said(error)}") from None


def _unknown(key: str, known: Iterable[str]) -> str:
    return f"unknown key {quoted(key)}{habit(key) or nearest(key, known) or '; it takes none'}"


def _invalid(
    cls: type[Any], fields: Mapping[str, Field], values: Mapping[str, Any], table: Mapping[str, Any]
) -> list[Problem]:
    """What validators refuse of `values`, each asked by itself; `__init__` would stop at the first.

    They see an instance that lacks the fields whose keys are wrong, and may not look at those.
    """
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
            problems.append(Problem((key,), (key,), said(error).removeprefix(f"{field.name!r} ")))
        except Exception:
            continue  # it looked at a field that is missing; that one is reported already
    return problems


def _one_of(value: Any, options: Sequence[Any]) -> Any:
    for option in options:
        if type(value) is type(option) and value == option:
            return value
    allowed = " or ".join(map(repr, options))
    if type(value) is not str:
        raise Unfit(allowed, value)
    names = [option for option in options if isinstance(option, str)]
    close = nearest(value, names) if get_close_matches(value, names) else ""
    raise Refused.because(f"expects {allowed}, found {quoted(value)}{close}")


def _bool(value: Any, _: Any) -> bool:
    if value is True or value is False:
        return value
    raise Unfit("true or false", value)


def _int(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise Unfit("an integer", value)
    if not -(2**63) <= value < 2**63:
        raise Unfit("an integer of 64 bits", value)
    return value


def _float(value: Any, _: Any) -> float:
    if type(value) is int:
        value = float(_int(value, int))
    if type(value) is not float:
        raise Unfit("a number", value)
    if not math.isfinite(value):
        raise Unfit("a finite number", value)
    return value


def _str(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise Unfit("a string", value)
    try:
        value.encode()
    except UnicodeEncodeError:  # from a command line that is no UTF-8; TOML could not hold it
        raise Unfit("a string of Unicode text", value) from None
    return value


def _anything(value: Any, _: Any) -> Any:
    """Any value of TOML, its numbers finite and of 64 bits."""
    if type(value) is dict:
        return dict(zip(value, each(value.items(), lambda item: _anything(item, Any)), strict=True))
    if type(value) is list:
        return each(enumerate(value), lambda item: _anything(item, Any))
    return {int: _int, float: _float}.get(type(value), lambda same, _: same)(value, Any)


_SCALARS: dict[Any, Take] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: lambda value, _: Path(_str(value, str)),
    **dict.fromkeys((Any, object), _anything),
}
