"""What `tune` searches: ranges of a spec's keys, read and checked before anything runs.

    train.optimizer.lr=1e-3:1e-1:log     all numbers between, even on a logarithmic scale
    model.depth=2:8                      integers, as the key's type is
    model.norm=rms,layer                 a choice of values, each as after `--set`
    small.toml:model.depth=1:3           for the spec of that file, or of that name, alone

Without a spec in front, a range goes to every spec that has the key. Where a spec has one of its own for that
key, its own counts.
"""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import attrs

from resnetbk import toml_places, toml_write
from resnetbk.errors import Mistake, UserError, nearest, printable
from resnetbk.lock.lock import resolved
from resnetbk.registry.lookup import Registry
from resnetbk.spec.document import Document, from_file, from_set
from resnetbk.spec.read import finish
from resnetbk.spec.spec import Part, Spec


@attrs.frozen
class Span:
    """The numbers from low to high, both included; `log` for even steps of their logarithm."""

    low: float
    high: float
    log: bool
    integer: bool

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + ", log" * self.log


@attrs.frozen
class Choices:
    """Values as TOML writes them."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.values)


@attrs.frozen
class SearchSpace:
    """One spec and what is searched in it.

    path, document, sets  where the spec comes from: the file as it was read, and `key=value` laid over it
    spec                  as it is without a search
    ranges                by spec key
    """

    path: Path
    document: Document = attrs.field(repr=False)
    sets: tuple[str, ...]
    spec: Spec = attrs.field(repr=False)
    ranges: Mapping[str, Span | Choices] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        return self.spec.name

    def at(self, values: Mapping[str, Any], registry: Registry) -> Spec:
        """The spec with `values` of its ranges. Raises UserError when they do not go together."""
        return finish(self.document, registry, [*self.sets, *self.assignments(values)])

    def assignments(self, values: Mapping[str, Any]) -> list[str]:
        """`values` as `--set` takes them; a Choices' value is TOML already."""
        texts = {k: v if isinstance(self.ranges[k], Choices) else repr(v) for k, v in values.items()}
        return [f"{key}={text}" for key, text in texts.items()]

    def own(self) -> dict[str, Any]:
        """The spec's own values, of those keys where they lie in the range."""
        tree: Any = resolved(self.spec)
        values: dict[str, Any] = {}
        for key, span in self.ranges.items():
            value = tree
            for step in key.split("."):
                value = value.get(step) if isinstance(value, dict) else None
            if isinstance(span, Span):
                if isinstance(value, (int, float)) and span.low <= value <= span.high:
                    values[key] = value
            elif value is not None:
                use = value.get("use") if isinstance(value, dict) else None
                texts = [toml_write.inline(option) for option in (value, use) if option is not None]
                values.update((key, text) for text in texts if text in span.values)
        return values


def search_spaces(
    paths: Sequence[str], ranges: Sequence[str], registry: Registry, sets: Sequence[str] = ()
) -> tuple[SearchSpace, ...]:
    """The spec files with their ranges. Raises UserError with every mistake in them."""
    mistakes: list[Mistake] = []
    spaces: list[SearchSpace] = []
    for path in paths:
        try:
            document = from_file(path)
            spaces.append(SearchSpace(Path(path), document, tuple(sets), finish(document, registry, sets)))
        except UserError as error:
            mistakes += [mistake for mistake in error.mistakes if mistake not in mistakes]
    if mistakes:
        raise UserError(*mistakes)
    for a, b in itertools.combinations(spaces, 2):
        if a.name == b.name:
            mistakes.append(Mistake(str(b.path), f"has the name of {a.path}, {a.name!r}; give it another"))
    asked = [_Asked.read(text) for text in ranges]
    given: dict[tuple[str, str], str] = {}
    for one in asked:
        try:
            if (one.spec, one.key) in given:
                raise UserError(f"{one.key}: has a range already: {given[one.spec, one.key]}")
            given[one.spec, one.key] = one.text
            spaces = _applied(one, spaces, asked, registry)
        except UserError as error:
            mistakes += [Mistake(printable(f"--range {one.text}"), m.message) for m in error.mistakes]
    if not mistakes:
        mistakes = [
            Mistake(str(space.path), "no --range is about it") for space in spaces if not space.ranges
        ]
    if mistakes:
        raise UserError(*mistakes)
    return tuple(spaces)


@attrs.frozen
class _Asked:
    """A range as it was written: the spec in front or "", the key, and what follows the equals sign."""

    text: str
    spec: str
    key: str
    values: str

    @classmethod
    def read(cls, text: str) -> _Asked:
        left, _, values = text.partition("=")
        spec, _, key = left.rpartition(":")
        return cls(text, spec.strip(), key.strip(), values.strip())


def _applied(
    one: _Asked, spaces: list[SearchSpace], asked: list[_Asked], registry: Registry
) -> list[SearchSpace]:
    """The specs with this range in those that it is about. Raises UserError."""
    if not one.key or not one.values:
        raise UserError("write KEY=LO:HI, KEY=LO:HI:log or KEY=a,b,c, as in train.optimizer.lr=1e-3:1e-1:log")
    about = [space for space in spaces if one.spec in ("", str(space.path), space.name)]
    if not about:
        called = [name for space in spaces for name in (space.name, str(space.path))]
        raise UserError(f"no spec {one.spec!r}{nearest(one.spec, called)}")
    having = [space for space in about if _type(space.spec, one.key) is not None]
    if not having:  # what is wrong with the key is said as for --set
        first = _split(one.values)[0] if "," in one.values else one.values.partition(":")[0]
        finish(about[0].document, registry, [*about[0].sets, f"{one.key}={first}"])
        raise UserError(f"{one.key}: cannot be searched")
    if not one.spec:
        own = {other.spec for other in asked if other.key == one.key}
        having = [space for space in having if not own & {str(space.path), space.name}]
    result = list(spaces)
    for space in having:
        span = _range(one, _type(space.spec, one.key))
        ends = span.values if isinstance(span, Choices) else (span.low, span.high)
        with_it = attrs.evolve(space, ranges={**space.ranges, one.key: span})
        for end in ends:
            attrs.evolve(with_it, ranges={one.key: span}).at({one.key: end}, registry)
        result[spaces.index(space)] = with_it
    return result


def _type(spec: Spec, key: str) -> Any:
    """The type of a key of this spec, None when it has none of that name."""
    value: Any = spec
    type_: Any = None
    for step in key.split("."):
        value = value.component if isinstance(value, Part) else value
        fields = attrs.fields(attrs.resolve_types(type(value))) if attrs.has(type(value)) else ()
        field = next((field for field in fields if field.init and field.alias == step), None)
        if field is None:
            return None
        type_, value = field.type, getattr(value, field.name)
    return type_


def _range(one: _Asked, type_: Any) -> Span | Choices:
    """What was written, for a key of this type. Raises UserError."""
    words = one.values.split(":")
    if "," not in one.values and len(words) > 1:
        return _span(one.key, words, type_)
    values = [toml_write.inline(_value(one.key, text)) for text in _split(one.values)]
    if len(set(values)) < max(2, len(values)):
        raise UserError(f"{one.key}: a choice needs two different values or more, separated by commas")
    return Choices(tuple(values))


def _span(key: str, words: list[str], type_: Any) -> Span:
    types_ = _plain_types(type_)
    integer = int in types_ and float not in types_
    if not {int, float} & types_:
        raise UserError(f"{key}: takes no number; write its values, separated by commas")
    if len(words) > 3 or words[2:] not in ([], ["log"]):
        raise UserError(f"{key}: write LO:HI or LO:HI:log")
    try:
        low, high = (int(word) if integer else float(word) for word in words[:2])
        float(low), float(high)
    except (ValueError, OverflowError):
        raise UserError(f"{key}: expects two {'integers' if integer else 'numbers'}, LO:HI") from None
    log = len(words) == 3
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{key}: LO must be less than HI, and both finite")
    if log and low <= 0:
        raise UserError(f"{key}: a logarithmic range must be positive")
    return Span(low, high, log, integer)


def _plain_types(type_: Any) -> set[Any]:
    """The types that a value may have, None left out."""
    if get_origin(type_) is Annotated:
        return _plain_types(get_args(type_)[0])
    if get_origin(type_) in (Union, types.UnionType):
        return set().union(*map(_plain_types, get_args(type_))) - {types.NoneType}
    return {type_}


def _value(key: str, text: str) -> Any:
    """The value that `--set key=text` gives."""
    value: Any = from_set(f"{key}={text}").tree
    for step in key.split("."):
        value = value[step]
    return value


def _split(text: str) -> list[str]:
    """The values between commas, which may be arrays, tables or strings with commas of their own."""
    try:
        return [
            toml_write.inline(value) for value in toml_places.parse(f"values = [{text}]", "")[0]["values"]
        ]
    except (UserError, TypeError):
        return [part.strip() for part in text.split(",")]
