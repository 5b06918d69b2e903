"""Strict structuring: a value from TOML becomes what a type says, exactly, or is refused with reasons.

cattrs finds the hook for a type. Its own hooks coerce (`bool("false")` is True, `int(3.7)` is 3), so those
here replace them for all that a spec can hold, and collect every problem rather than the first.
"""

from __future__ import annotations

import enum
import math
import types
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, Sequence, Set
from difflib import get_close_matches
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import attrs
import cattrs

from resnetbk.errors import nearest
from resnetbk.spec.problem import Problem, Refused, Unfit, each, quoted
from resnetbk.spec.table import assemble

if TYPE_CHECKING:
    from resnetbk.spec.table import Attribute


def converter() -> cattrs.Converter:
    """A converter whose `structure` raises Refused."""
    made = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True)
    for cls, hook in {bool: _bool, int: _int, float: _float, str: _str, Path: _path}.items():
        made.register_structure_hook(cls, hook)
    made.register_structure_hook_func(lambda type_: type_ in {Any, object}, _anything)
    made.register_structure_hook_func(_is_literal, _literal)
    made.register_structure_hook_func(_is_enum, _enum)
    made.register_structure_hook_func(_is_union, lambda value, type_: _union(made, value, type_))
    made.register_structure_hook_func(_is_array, lambda value, type_: _array(made, value, type_))
    made.register_structure_hook_func(_is_mapping, lambda value, type_: _mapping(made, value, type_))

    def field(attribute: Attribute, value: Any) -> Any:
        return made.structure(value, Any if attribute.type is None else attribute.type)

    made.register_structure_hook_func(attrs.has, lambda value, cls: assemble(cls, value, field))
    return made


def _bool(value: Any, _: Any) -> bool:
    if value is True or value is False:
        return value
    raise Unfit("true or false", value)


def _int(value: Any, type_: Any) -> Any:
    if type(value) is not int:
        raise Unfit("an integer", value)
    if not -(2**63) <= value < 2**63:
        raise Unfit("an integer of 64 bits", value)
    return value if type_ is int else type_(value)


def _float(value: Any, type_: Any) -> Any:
    if type(value) is int:
        value = float(_int(value, int))
    if type(value) is not float:
        raise Unfit("a number", value)
    if not math.isfinite(value):
        raise Unfit("a finite number", value)
    return value if type_ is float else type_(value)


def _str(value: Any, type_: Any) -> Any:
    if type(value) is not str:
        raise Unfit("a string", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # from a command line that is no UTF-8; TOML could not hold it
            raise Unfit("a string of Unicode text", value) from None
    return value if type_ is str else type_(value)


def _path(value: Any, _: Any) -> Path:
    return Path(_str(value, str))


def _anything(value: Any, type_: Any) -> Any:
    """Any value of TOML, its numbers finite and of 64 bits."""
    if type(value) is dict:
        return dict(zip(value, each(value.items(), lambda item: _anything(item, type_)), strict=True))
    if type(value) is list:
        return each(enumerate(value), lambda item: _anything(item, type_))
    return {int: _int, float: _float}.get(type(value), lambda same, _: same)(value, type(value))


def _is_literal(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is Literal


def _literal(value: Any, type_: Any) -> Any:
    return _one_of(value, get_args(type_))


def _is_enum(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, enum.Enum)


def _enum(value: Any, type_: type[enum.Enum]) -> enum.Enum:
    return type_(_one_of(value, [member.value for member in type_]))


def _one_of(value: Any, options: Sequence[Any]) -> Any:
    for option in options:
        if type(value) is type(option) and value == option:
            return value
    allowed = " or ".join(map(repr, options))
    if type(value) is not str:
        raise Unfit(allowed, value)
    words = [option for option in options if isinstance(option, str)]
    close = nearest(value, words) if get_close_matches(value, words) else ""
    raise Refused(Problem((), (), f"expects {allowed}, found {quoted(value)}{close}"))


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, types.UnionType)


def _union(made: cattrs.Converter, value: Any, type_: Any) -> Any:
    """The first of the types that fits. TOML has no null, so None is never what a key holds."""
    refusals = []
    for arm in get_args(type_):
        if arm is not types.NoneType:
            try:
                return made.structure(value, arm)
            except Refused as refused:
                refusals.append(refused)
    inner = [refused for refused in refusals if not isinstance(refused, Unfit)]
    if inner:  # of the right type, but wrong within
        raise inner[0]
    raise Unfit(" or ".join(refused.expects for refused in refusals if isinstance(refused, Unfit)), value)


ARRAYS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((tuple, Sequence), tuple),
    **dict.fromkeys((list, MutableSequence), list),
    **dict.fromkeys((frozenset, Set), frozenset),
    set: set,
}


def _is_array(type_: Any) -> bool:
    return (get_origin(type_) or type_) in ARRAYS


def _array(made: cattrs.Converter, value: Any, type_: Any) -> Any:
    origin, items = get_origin(type_) or type_, get_args(type_)
    if type(value) is not list:
        raise Unfit("an array", value)
    if origin is tuple and items and items[-1] is not Ellipsis:
        if len(value) != len(items):
            raise Refused(Problem((), (), f"expects an array of {len(items)}, found one of {len(value)}"))
        expected: Iterable[Any] = items
    else:
        expected = repeat(items[0] if items else Any)
    pairs = enumerate(zip(value, expected, strict=False))
    return ARRAYS[origin](each(pairs, lambda pair: made.structure(*pair)))


MAPPINGS = (dict, Mapping, MutableMapping)


def _is_mapping(type_: Any) -> bool:
    return (get_origin(type_) or type_) in MAPPINGS


def _mapping(made: cattrs.Converter, value: Any, type_: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise Unfit("a table", value)
    of_key, of_item = get_args(type_) or (Any, Any)
    pairs = ((key, (key, item)) for key, item in value.items())
    return dict(each(pairs, lambda pair: (made.structure(pair[0], of_key), made.structure(pair[1], of_item))))
