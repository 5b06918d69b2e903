"""What is wrong with a value, and where in its document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs

from resnetbk.errors import UserError, one_line, printable, shortened
from resnetbk.toml_places import Path

T = TypeVar("T")

MOST = 100
"""Problems after which a table or an array is not read any further."""

_COMPARED = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
_OF_ATTRS = re.compile(r"must be (>=|>|<=|<) (\S+): ")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


@attrs.frozen
class Problem:
    """What is wrong: the path whose place to show, the path to name, and the reason."""

    at: Path
    key: Path
    message: str

    def under(self, part: str | int) -> Problem:
        return Problem((part, *self.at), (part, *self.key), self.message)

    def __str__(self) -> str:
        key = ""
        for part in self.key:
            name = part if isinstance(part, int) or _PLAIN_KEY.fullmatch(part) else quoted(part)
            key += f"[{name}]" if isinstance(part, int) else f"{'.' if key else ''}{name}"
        return printable(f"{key}: {self.message}" if key else self.message)


class Refused(Exception):
    """A value that is not what it should be, for one or more reasons; a string is about the value itself."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = [Problem((), (), p) if isinstance(p, str) else p for p in problems]

    @classmethod
    def of(cls, error: UserError, at: Path = ()) -> Refused:
        """What a component or the registry refuses."""
        return Refused(*(Problem(at, (), shortened(str(mistake))) for mistake in error.mistakes))


class Unfit(Refused):
    """A value of another type than the one it `expects`."""

    def __init__(self, expects: str, value: Any) -> None:
        self.expects = expects
        super().__init__(f"expects {expects}, found {shown(value)}")


def take_all(items: Iterable[tuple[str | int | None, Any]], take: Callable[[Any], T]) -> list[T]:
    """`take` of every value. Raises Refused with the problems of all, each under its key if it has one."""
    values: list[T] = []
    problems: list[Problem] = []
    for key, item in items:
        try:
            values.append(take(item))
        except Refused as refused:
            problems += [p if key is None else p.under(key) for p in refused.problems]
            if len(problems) >= MOST:
                break
    if problems:
        raise Refused(*problems)
    return values


def reason(error: BaseException) -> str:
    """The message alone of what validators raise; of anything else, its type too."""
    if isinstance(error, (ValueError, TypeError)):
        message = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
        message = _OF_ATTRS.sub(lambda match: f"must be {_COMPARED[match[1]]} {match[2]}, is ", message)
        if message:
            return shortened(message)
    return one_line(error)


def quoted(text: str) -> str:
    """A string from the file, for a message."""
    return repr(text) if len(text) <= 60 else f"{text[:59]!r}…"


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"one of {value.bit_length()} bits"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "a table"
    return "a date or time"
