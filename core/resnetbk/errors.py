"""What can go wrong, by who can fix it.

Every error a person may meet is one of these; anything else that escapes is a bug of ours (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import attrs


class ResnetbkError(Exception):
    """Base of every error raised on purpose. `exit_code` is what the command line ends with."""

    exit_code = 1


@attrs.frozen
class Mistake:
    """Something that a person got wrong: where (`file:line`, or empty) and what, in one line."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class UserError(ResnetbkError):
    """The user can fix it: all mistakes at once, a line for each."""

    exit_code = 2

    def __init__(self, *mistakes: Mistake | str) -> None:
        self.mistakes = tuple(m if isinstance(m, Mistake) else Mistake("", m) for m in mistakes)
        super().__init__("\n".join(str(m) for m in self.mistakes))


class NumericError(ResnetbkError):
    """The numbers went wrong: a loss or a gradient that is not finite."""

    exit_code = 3


class StorageError(ResnetbkError):
    """A file that should be there is missing, damaged, or cannot be written."""

    exit_code = 4


def nearest(name: str, options: Iterable[str], *, allowed: bool = True) -> str:
    """`; did you mean 'chains'?` for a name close to one of `options`; else, with `allowed`, all of them."""
    known = sorted(set(options))
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(known)}" if known and allowed else ""


def printable(text: str) -> str:
    """`text` with line breaks and other unprintable characters escaped, so that a message stays one line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(text: str, longest: int = 300) -> str:
    """A message in one line that is not too long."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def one_line(error: BaseException) -> str:
    """The type and the message of any exception, in one line of at most 300 characters."""
    try:
        message = str(error)
    except Exception:  # a plugin's exception may fail at that, too
        message = ""
    return shortened(f"{type(error).__name__}: {message}").removesuffix(":")
