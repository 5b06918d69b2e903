"""A registry of made-up components, so that these tests need no plugin and no torch."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import pytest
from attrs.validators import ge, in_

from resnetbk.errors import UserError, nearest
from resnetbk.registry import Entry, Manifest, Plugin, Registry


class Component:
    def build(self, **_: Any) -> None: ...


@attrs.frozen(kw_only=True)
class Plain(Component):
    """No keys."""


@attrs.frozen(kw_only=True)
class Chain(Component):
    chains: int = attrs.field(default=8, validator=ge(1))
    spread: float = 2.2
    low: float = 0.5
    high: float = attrs.field(default=1.7)

    @high.validator
    def _rises(self, field: Any, value: float) -> None:
        if value <= self.low:
            raise ValueError(f"must be above\nlow, {self.low}")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen(kw_only=True)
class Style:
    size: int
    colour: Colour = Colour.RED
    rate: float | None = None


@attrs.frozen(kw_only=True)
class Rich(Component):
    """A key of every type."""

    style: Style = attrs.field(factory=lambda: Style(size=1))
    styles: tuple[Style, ...] = ()
    layers: list[int] = attrs.field(factory=list)
    pair: tuple[int, str] = (1, "a")
    words: frozenset[str] = frozenset()
    table: Mapping[str, float] = attrs.field(factory=dict)
    level: Literal[1, 2, "top"] = 1
    either: int | str = 0
    several: str | Sequence[str] = ""
    file: Path = Path("x")
    count: Annotated[int, "how many"] = 0
    on: bool = False
    anything: Any = 0
    seen: int = attrs.field(default=0, init=False)


@attrs.frozen(kw_only=True)
class Rate(Component):
    lr: float = attrs.field(validator=[ge(0.0)])
    decay: str = attrs.field(default="linear", validator=in_(["linear", "none"]))


@attrs.frozen(kw_only=True)
class Failing(Component):
    """Its own code goes wrong."""

    x: int = attrs.field(default=0)

    @x.validator
    def _fails(self, field: Any, value: int) -> None:
        raise KeyError("oops")


@attrs.frozen(kw_only=True)
class Objecting(Component):
    """Refuses every spec, for two reasons."""

    def check(self, spec: Any) -> None:
        raise UserError("wants a wider\nmodel", "wants a deeper one")


@attrs.frozen(kw_only=True)
class Unwritable(Component):
    z: complex = 0j


@attrs.frozen(kw_only=True)
class Unresolved(Component):
    x: Nowhere = 0  # type: ignore[name-defined]  # noqa: F821


CAUSAL = frozenset({"causal"})
CLASSES: dict[tuple[str, str], type] = {}


def entry(kind: str, name: str, cls: type, plugin: str = "made-up", **more: Any) -> Entry:
    CLASSES[kind, name] = cls
    capabilities = {"provides": CAUSAL, "requires": frozenset(), "conflicts": frozenset()}
    return Entry(
        kind=kind, name=name, plugin=plugin, version="1.0", use="m:C", summary="S", **{**capabilities, **more}
    )


ENTRIES = (
    entry("sequence-mixer", "chain", Chain),
    entry("sequence-mixer", "rich", Rich),
    entry("sequence-mixer", "plain", Plain),
    entry("sequence-mixer", "two-sided", Chain, provides=frozenset({"bidirectional"})),
    entry("sequence-mixer", "failing", Failing),
    entry("sequence-mixer", "objecting", Objecting),
    entry("sequence-mixer", "unwritable", Unwritable),
    entry("sequence-mixer", "unresolved", Unresolved),
    entry("sequence-mixer", "broken", Plain),
    entry("channel-mixer", "dense", Plain, default=True),
    entry("embedding", "table", Plain, default=True),
    entry("halting-policy", "never", Plain, default=True),
    entry("halting-policy", "fussy", Plain, requires=frozenset({"streaming"})),
    entry("resolution-scheduler", "flat", Plain, default=True),
    entry("sparsity-gate", "open", Plain, default=True),
    entry("corpus", "tiny", Plain),
    entry("tokenizer", "bytes", Plain, default=True),
    entry("data-selector", "shuffle", Plain, default=True),
    entry("optimizer", "descent", Rate),
    entry("optimizer", "plain", Plain, default=True),
    entry("gradient-strategy", "backprop", Plain, default=True),
    entry("initializer", "scratch", Plain, default=True),
    entry("observer", "progress", Plain, default=True),
    entry("observer", "rich", Rich),
    entry("observer", "lines", Rate),
    entry("observer", "twice", Plain),
)
OTHERS = (entry("observer", "twice", Plain, plugin="other"),)


@attrs.frozen
class MadeUp(Registry):
    """Loads without importing, with error messages of its own."""

    def find(self, kind: str, name: str) -> Entry:
        owner, _, bare = name.rpartition("/")
        matching = [e for e in self.entries(kind) if e.name == bare and owner in ("", e.plugin)]
        if len(matching) != 1:
            known = [e.name for e in self.entries(kind)]
            raise UserError(f"several {name!r}" if matching else f"no {kind} {name!r}{nearest(bare, known)}")
        return matching[0]

    def load(self, entry: Entry) -> type:
        if entry.name == "broken":
            raise UserError(f"plugin {entry.plugin} {entry.version}: cannot import m:C: ImportError: no")
        return CLASSES[entry.kind, entry.name]


@pytest.fixture(scope="session")
def registry() -> Registry:
    plugins = [
        Plugin(name, "1.0", None, Manifest(entries, None), "")
        for name, entries in {"made-up": ENTRIES, "other": OTHERS}.items()
    ]
    return MadeUp(tuple(plugins))
