"""A table becomes an instance of an attrs class, or all its problems are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from cattrs import StructureHandlerNotFoundError

from resnetbk.errors import nearest
from resnetbk.spec.problem import MOST, Problem, Refused, Unfit, one_line, quoted

if TYPE_CHECKING:
    Attribute = attrs.Attribute[Any]


def assemble(
    cls: type[Any],
    table: Any,
    field: Callable[[Attribute, Any], Any],
    absent: Callable[[Attribute], Any] = lambda _: attrs.NOTHING,
) -> Any:
    """An instance of an attrs class from a table.

    field   makes the value of a field from that of its key
    absent  gives the value of a field whose key is left out; NOTHING for the class's own default

    Raises Refused with every unknown and missing key, every value that does not fit, and what the class's
    validators have against those that do.
    """
    if type(table) is not dict:
        raise Unfit("a table", table)
    fields = {attribute.alias: attribute for attribute in attrs.fields(attrs.resolve_types(cls))}
    fields = {key: attribute for key, attribute in fields.items() if attribute.init}
    unknown = [key for key in table if key not in fields]
    problems = []
    for key in unknown[:MOST]:
        known = nearest(key, fields) or "; it takes none"
        problems.append(Problem((key,), (), f"unknown key {quoted(key)}{known}"))
    values = {}
    for key, attribute in fields.items():
        try:
            value = field(attribute, table[key]) if key in table else absent(attribute)
        except Refused as refused:
            problems += [problem.under(key) for problem in refused.problems]
        except StructureHandlerNotFoundError as error:
            problems.append(Problem((key,), (key,), f"cannot be given in a spec: its type is {error.type_}"))
        except Exception as error:  # of a hook or a type that is not ours
            problems.append(Problem((key,), (key,), one_line(error)))
        else:
            if value is not attrs.NOTHING:
                values[key] = value
            elif attribute.default is attrs.NOTHING:
                problems.append(Problem((), (), f"missing key {key!r}"))
    if not problems:
        try:
            return cls(**values)
        except Exception as error:
            raise Refused(
                *_invalid(cls, fields, values, table) or [Problem((), (), one_line(error))]
            ) from None
    raise Refused(*problems, *_invalid(cls, fields, values, table))


def _invalid(
    cls: type[Any], fields: Mapping[str, Attribute], values: Mapping[str, Any], table: Mapping[str, Any]
) -> list[Problem]:
    """What validators have against `values`, each asked by itself; `__init__` would stop at the first.

    They see an instance that lacks the fields whose keys are wrong, and may not look at those.
    """
    instance = object.__new__(cls)
    for key, attribute in fields.items():
        default = attribute.default
        if key in values and attribute.converter is None:
            object.__setattr__(instance, attribute.name, values[key])
        elif key not in table and default is not attrs.NOTHING and type(default) is not attrs.Factory:
            object.__setattr__(instance, attribute.name, default)
    problems = []
    for key, attribute in fields.items():
        if attribute.validator is None or not hasattr(instance, attribute.name):
            continue
        try:
            attribute.validator(instance, attribute, getattr(instance, attribute.name))
        except (ValueError, TypeError) as error:
            message = one_line(error).removeprefix(f"{attribute.name!r} ")
            problems.append(Problem((key,), (key,), message))
        except Exception:
            continue  # it looked at a field that is missing; that one is reported already
    return problems
