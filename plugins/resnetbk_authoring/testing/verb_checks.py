"""Checks of verbs, and what they are handed."""

from __future__ import annotations

import os
import subprocess
import sys

import attrs
import click

from resnetbk.registry.entry import Entry
from resnetbk_authoring.testing.subject import require


@attrs.frozen(eq=False)
class VerbSubject:
    """A verb under test."""

    entry: Entry
    command: click.Command


def documented(subject: VerbSubject) -> None:
    """Its manifest has a summary, its help says what it does, and each option has a help text."""
    require(len(subject.entry.summary.strip()) >= 10, f"the summary says nothing: {subject.entry.summary!r}")
    require(bool((subject.command.help or "").strip()), "it has no help: write a docstring")
    options = [p for p in subject.command.params if isinstance(p, click.Option)]
    silent = [option.opts[0] for option in options if not option.help]
    require(not silent, f"no help for {', '.join(silent)}")


def unknown_options_refused(subject: VerbSubject) -> None:
    """An option that it does not have is a usage error, exit code 2, before anything is done."""
    try:
        subject.command.make_context(subject.entry.name, ["--no-such-option"])
    except click.UsageError:
        return
    raise AssertionError("it takes --no-such-option")


def imports_no_torch(subject: VerbSubject) -> None:
    """Importing it does not import torch, so that a mistake in its options is answered at once."""
    module = subject.entry.use.partition(":")[0]
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    require(done.returncode == 0, f"importing {module} imports torch, or fails: {done.stderr[-200:]}")
