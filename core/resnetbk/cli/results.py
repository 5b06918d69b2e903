"""A run's result in the terminal, beside what plugins that bring verbs know of the text; and its own text."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console

from resnetbk.cli.tables import table
from resnetbk.errors import UserError
from resnetbk.hooks import RunReport
from resnetbk.registry.entry import VERB
from resnetbk.registry.lookup import Registry
from resnetbk.task import Task
from resnetbk.terminal import harmless
from resnetbk.training.data import Data
from resnetbk.training.objective import Evaluation
from resnetbk.training.observers import manager
from resnetbk.whole_process import part

MOST_GROUPS = 16
"""Of a task's labels, of which all accuracies are printed."""


def command_hooks(registry: Registry) -> Any:
    """The hooks of plugins that bring verbs. One that cannot be imported is a warning."""
    brings = {entry.plugin for entry in registry.entries(VERB)}
    modules = []
    for plugin in registry.plugins:
        try:
            if plugin.name in brings and (module := registry.load_hooks(plugin)):
                modules.append(module)
        except UserError as error:
            click.echo(f"warning: {error}", err=True)
    return manager(modules).hook


def print_results(name: str, result: Evaluation | RunReport, data: Data, corpus: str, hooks: Any) -> None:
    """A table of nats/token and bits/byte: the model, by part too, and `resnetbk_baselines`; of a task
    accuracy, all in all and in each group, beside a constant guess."""
    if data.text.task:
        _print_task(name, result, data.text.task, corpus)
        return
    per_byte = (len(data.valid) - 1) / max(data.held_out_bytes, 1) / math.log(2)
    size = f"{len(data.valid):,} tokens" if data.text.tokens else f"{len(data.text.valid):,} bytes"
    rows = table(f"held-out text of {corpus}: {size}", "nats/token", "bits/byte")
    baselines: dict[str, float] = {}
    with part("baselines"):
        for answer in hooks.resnetbk_baselines(data=data):
            baselines |= answer
    results = [*((label, nats, "dim") for label, nats in baselines.items()), (name, result.loss, "bold")]
    for label, nats, style in sorted(results, key=lambda row: -row[1]):
        rows.add_row(label, f"{nats:.4f}", f"{nats * per_byte:.4f}", style=style)
    for name, nats in result.groups.items():
        rows.add_row(f"  {name}", f"{nats:.4f}", "")
    Console().print(rows)


def _print_task(name: str, result: Evaluation | RunReport, task: Task, corpus: str) -> None:
    count = len(task.valid) // task.valid_length
    title = f"held-out examples of {corpus}: {count:,} of {task.valid_length:,} tokens"
    rows = table(title, "accuracy", "nats/label")
    accuracy, nats = task.constant_guess()
    rows.add_row("a constant guess", f"{accuracy:.4f}", f"{nats:.4f}", style="dim")
    rows.add_row(name, f"{result.accuracy:.4f}", f"{result.loss:.4f}", style="bold")
    groups = list(result.groups.items())
    if len(groups) > MOST_GROUPS:
        groups = sorted(groups, key=lambda group: group[1])[:MOST_GROUPS]
        rows.add_row(f"  the lowest of {len(result.groups)} groups:", "", "", style="dim")
    for group, accuracy in groups:
        rows.add_row(f"  {group}", f"{accuracy:.4f}", "")
    Console().print(rows)


def write(pieces: Iterable[bytes], *, as_it_is: bool = False) -> None:
    """Prints pieces of UTF-8, which may be torn, as they come: harmless to a terminal, or `as_it_is`."""
    if as_it_is:
        for piece in pieces:
            click.echo(piece, nl=False)
    else:
        for text in codecs.iterdecode(pieces, "utf-8", "replace"):
            click.echo(harmless(text), nl=False)
    click.echo()
