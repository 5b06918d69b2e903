"""Writes docs/reference/: a page for each kind, from the registry, docstrings and the interfaces.

python docs/make_reference.py [FOLDER]
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from resnetbk import hooks, kinds
from resnetbk.kinds import KINDS, Kind
from resnetbk.registry.contract import CAPABILITIES
from resnetbk.registry.entry import Entry
from resnetbk.registry.lookup import Registry
from resnetbk.task import Task
from resnetbk_authoring.keys import Key, keys
from resnetbk_authoring.testing.suite import checks

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
    "corpus": (kinds.Text, Task),
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
"""The parts of `kinds.py` or `hooks.py` that an author of each kind needs."""

OBSERVER = """\
Its `build(*, folder, spec)` returns an object with methods that have the names of these hooks and are marked
with `@hookimpl` of `resnetbk.hooks`. Each takes those of the hook's arguments that it needs.
"""


def pages() -> dict[str, str]:
    """The text of each page by the name of its file."""
    registry = Registry.discover(allow=[PLUGIN])
    kinds = {f"{kind.name}.md": _page(kind, registry) for kind in KINDS.values()}
    return {"README.md": _index(registry), **kinds}


def _index(registry: Registry) -> str:
    rows = [
        f"| [{kind.name}]({kind.name}.md) | `{kind.key}` | {kind.summary} | "
        f"{', '.join(f'`{entry.name}`' for entry in registry.entries(kind.name))} |"
        for kind in KINDS.values()
    ]
    capabilities = [f"| `{name}` | {meaning} |" for name, meaning in CAPABILITIES.items()]
    return _lines(
        "# Reference",
        "",
        "All kinds and first-party components, as `resnetbk list` and `resnetbk show NAME` print them.",
        "",
        "| kind | key in a spec | decides | components |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "## Capabilities",
        "",
        "For `provides`, `requires` and `conflicts` in manifests; `resnetbk test` checks them.",
        "",
        "| capability | meaning |",
        "| --- | --- |",
        *capabilities,
    )


def _page(kind: Kind, registry: Registry) -> str:
    tested = [
        f"| `{c.name}` | {f'`{c.capability}`' if c.capability else ''} | {c.summary} |"
        for c in checks(kind.name)
    ]
    return _lines(
        f"# {kind.name}",
        "",
        f"{kind.summary.capitalize()}. Chosen by `{kind.key}`; version {kind.api} of the interface.",
        "",
        *_interface(kind),
        "## Checks",
        "",
        "| check | only if it provides | requirement |",
        "| --- | --- | --- |",
        *tested,
        *(line for entry in registry.entries(kind.name) for line in _component(entry, registry.load(entry))),
    )


def _interface(kind: Kind) -> list[str]:
    parts = [inspect.getsource(part).rstrip() for part in INTERFACES[kind.name]]
    introduction = [OBSERVER] if kind.name == "observer" else []  # the others have docstrings
    return ["## Interface", "", *introduction, "```python", "\n\n\n".join(parts), "```", ""]


def _component(entry: Entry, cls: type) -> list[str]:
    declared = (
        ("provides", entry.provides),
        ("requires", entry.requires),
        ("conflicts with", entry.conflicts),
    )
    facts = [
        f"{relation} {', '.join(f'`{name}`' for name in sorted(names))}"
        for relation, names in declared
        if names
    ]
    facts += ["the default"] if entry.default else []
    facts += [f"paper: {entry.paper}"] if entry.paper else []
    lines = ["", f"## {entry.name}", "", f"{entry.summary}.", *([""] if facts else []), "; ".join(facts)]
    if of_component := keys(cls):
        lines += ["", "| key | type | allowed | default |", "| --- | --- | --- | --- |"]
        lines += [_row(key) for key in of_component]
    return [*lines, "", "```text", inspect.getdoc(cls) or "", "```"]


def _row(key: Key) -> str:
    allowed = f"`{_cell(key.allowed)}`" if key.allowed else ""
    return f"| `{'.'.join(key.path)}` | `{_cell(key.type)}` | {allowed} | `{_cell(key.default)}` |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _lines(*lines: str) -> str:
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
