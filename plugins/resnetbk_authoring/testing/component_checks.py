"""Checks that every component passes, whatever its kind."""

from __future__ import annotations

import inspect

import attrs

from resnetbk.lock.lock import plain
from resnetbk_authoring.testing.subject import Subject, require


def documented(subject: Subject) -> None:
    """Its class has a docstring that says something of every key, and its manifest a summary."""
    cls = type(subject.component)
    own = inspect.getdoc(cls) or ""
    text = "\n".join(base.__doc__ or "" for base in cls.__mro__ if attrs.has(base))
    require(bool(own.strip()), f"{cls.__name__} has no docstring")
    require(len(subject.entry.summary.strip()) >= 10, f"the summary says nothing: {subject.entry.summary!r}")
    silent = [field.alias for field in attrs.fields(cls) if field.init and field.alias not in text]
    require(not silent, f"the docstring says nothing of {', '.join(silent)}")


def frozen(subject: Subject) -> None:
    """It is a frozen attrs class, equal to another one with the same keys."""
    cls = type(subject.component)
    again = Subject.of(subject.registry, subject.entry, subject.settings)
    require(again.component == subject.component, "two with the same keys are not equal")
    try:
        subject.component.anything = 0  # where fields may be set, this is another error, or none
    except attrs.exceptions.FrozenInstanceError:
        return
    except AttributeError:
        pass
    raise AssertionError(f"{cls.__name__} is not frozen: write @attrs.frozen")


def spec_round_trip(subject: Subject) -> None:
    """Written as a spec has it, and read again, it is the same component."""
    table = plain(subject.component)
    again = Subject.of(subject.registry, subject.entry, table)
    require(again.component == subject.component, f"it comes back from {table} as another one")
