"""Writes docs/reference/: a page a kind, from the registry, the components' docstrings and the interfaces.

python docs/make_reference.py [FOLDER]
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import attrs

from resnetbk import hooks, kinds
from resnetbk.cli.show_ import default, type_name
from resnetbk.kinds import KINDS, Kind
from resnetbk.registry.contract import WORDS
from resnetbk.registry.lookup import Registry
from resnetbk.registry.manifest import Entry
from resnetbk.testing.suite import checks

PLUGIN = "resnetbk"
INTERFACES: dict[str, tuple[Any, ...]] = {
    "sequence-mixer": (kinds.SequenceMixer, kinds.StreamingMixer),
    "halting-policy": (
        kinds.HaltingPolicy,
        kinds.Halting,
        kinds.Finished,
        kinds.Exit,
        kinds.Stack,
        kinds.Rows,
    ),
    "resolution-scheduler": (kinds.ResolutionScheduler, kinds.Stack, kinds.Rows),
    "sparsity-gate": (kinds.SparsityGate, kinds.Keep, kinds.Rows),
    "data-selector": (kinds.DataSelector, kinds.Windows, kinds.SelectionContext, kinds.Score),
    "gradient-strategy": (kinds.GradientStrategy, kinds.Batch, kinds.BatchLoss, kinds.Weight),
    "embedding": (kinds.Embedding,),
    "channel-mixer": (kinds.ChannelMixer,),
    "corpus": (kinds.Text,),
    "tokenizer": (kinds.Tokenizer,),
    "optimizer": (kinds.Optimizer, kinds.Weight),
    "initializer": (kinds.Initializer,),
    "observer": (
        *(hook for name, hook in vars(hooks).items() if name in hooks.HOOKS),
        hooks.StepReport,
        hooks.EvaluationReport,
        hooks.RunReport,
        hooks.PhaseCost,
    ),
}
"""What of `kinds.py`, or of `hooks.py`, an author of a kind has to know."""

OBSERVER = """\
Its `build(*, folder, spec)` gives an object with methods that have the names of these hooks and are marked
with `@hookimpl` of `resnetbk.hooks`. Each takes those of the hook's arguments that it wants.
"""


def pages() -> dict[str, str]:
    """The pages by the names of their files."""
    registry = Registry.discover(allow=[PLUGIN])
    found = {f"{kind.name}.md": _page(kind, registry) for kind in KINDS.values()}
    return {"README.md": _index(registry), **found}


def _index(registry: Registry) -> str:
    rows = [
        f"| [{kind.name}]({kind.name}.md) | `{kind.key}` | {kind.summary} | "
        f"{', '.join(f'`{entry.name}`' for entry in registry.entries(kind.name))} |"
        for kind in KINDS.values()
    ]
    words = [f"| `{word}` | {promise} |" for word, promise in WORDS.items()]
    return _lines(
        "# Reference",
        "",
        "All kinds of component and all of ours, as `resnetbk list` and `resnetbk show NAME` have them.",
        "",
        "| kind | key in a spec | decides | components |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "## What components promise",
        "",
        "The `provides`, `requires` and `conflicts` of manifests; `resnetbk test` measures them.",
        "",
        "| word | promise |",
        "| --- | --- |",
        *words,
    )


def _page(kind: Kind, registry: Registry) -> str:
    asked = [f"| `{c.name}` | {f'`{c.word}`' if c.word else ''} | {c.summary} |" for c in checks(kind.name)]
    return _lines(
        f"# {kind.name}",
        "",
        f"{kind.summary.capitalize()}. Chosen by `{kind.key}`; version {kind.api} of the interface.",
        "",
        *_interface(kind),
        "## What it is tested for",
        "",
        "| check | of those that claim | what it is to keep |",
        "| --- | --- | --- |",
        *asked,
        *(line for entry in registry.entries(kind.name) for line in _component(entry, registry.load(entry))),
    )


def _interface(kind: Kind) -> list[str]:
    parts = [inspect.getsource(part).rstrip() for part in INTERFACES[kind.name]]
    said = [OBSERVER] if kind.name == "observer" else []  # the others say it in their docstrings
    return ["## Interface", "", *said, "```python", "\n\n\n".join(parts), "```", ""]


def _component(entry: Entry, cls: type) -> list[str]:
    said = [f"provides {', '.join(f'`{word}`' for word in sorted(entry.provides))}"] if entry.provides else []
    said += (
        [f"requires {', '.join(f'`{word}`' for word in sorted(entry.requires))}"] if entry.requires else []
    )
    said += (
        [f"conflicts with {', '.join(f'`{w}`' for w in sorted(entry.conflicts))}"] if entry.conflicts else []
    )
    said += ["what a spec gets that leaves the key out"] if entry.default else []
    said += [f"source: {entry.paper}"] if entry.paper else []
    lines = ["", f"## {entry.name}", "", f"{entry.summary}.", *([""] if said else []), "; ".join(said)]
    fields: list[Any] = [field for field in attrs.fields(attrs.resolve_types(cls)) if field.init]
    if fields:
        lines += ["", "| key | type | default |", "| --- | --- | --- |"]
        lines += [
            f"| `{field.alias}` | `{_type(field.type)}` | `{_cell(default(field.default))}` |"
            for field in fields
        ]
    return [*lines, "", "```text", inspect.getdoc(cls) or "", "```"]


def _type(kind: Any) -> str:
    return _cell(type_name(kind).replace("typing.", ""))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _lines(*lines: str) -> str:
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
