"""Observer `progress`: the progress of a run, on standard error."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import attrs
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from resnetbk.hooks import EvaluationReport, RunReport, StepReport, hookimpl
from resnetbk.terminal import duration, standard_error

REFRESH = 0.1
"""Least number of seconds between two updates of the bar."""

WHY = {"steps": "all steps done", "seconds": "time is up", "target": "target reached"}
"""Why a run ended, by `RunReport.stopped`."""

WARM = 3
"""Steps that foretell nothing: the first ones compile, and FLOPs are counted in all of them."""

WARMING = "first step: warming up"

EVERY = 5.0
"""Least number of seconds between two lines without a terminal."""


@attrs.frozen(kw_only=True)
class Progress:
    """A bar on a terminal, with evaluations above it; elsewhere a line about every five seconds."""

    def build(self, *, folder: Path, spec: Any) -> ProgressBar | ProgressLines:
        stream = standard_error()
        console = Console(file=stream)
        if stream.isatty() and not console.is_dumb_terminal:
            return ProgressBar(spec.name, console)
        return ProgressLines(stream)


class Figures:
    """Reports as text. Remembers bits/byte, of a task accuracy, from one evaluation to the next, and the last
    of the steps that warm up, since which speed is measured."""

    def __init__(self) -> None:
        self.bits_per_byte: float | None = None
        self.accuracy: float | None = None
        self.steps = 0
        self.warm: StepReport | None = None

    def see(self, report: StepReport) -> None:
        """To be called after each step."""
        self.steps += 1
        if self.steps <= WARM:
            self.warm = report

    def step(self, report: StepReport) -> str:
        """`120/600  loss 2.3451  held-out 1.980 bits/byte  35.2k tokens/s  0:01:12 left`, as far as known."""
        parts = [
            f"{report.step}/{report.steps}" if report.steps else f"{report.step}",
            f"loss {report.loss:.4f}",
        ]
        if (layers := sum(report.rows)) < len(report.rows):
            parts.append(f"{layers:.2f} of {len(report.rows)} layers")
        if self.accuracy is not None:
            parts.append(f"held-out accuracy {self.accuracy:.3f}")
        elif self.bits_per_byte is not None:
            parts.append(f"held-out {self.bits_per_byte:.3f} bits/byte")
        warm = self.warm
        if warm is None or report.step <= warm.step:
            parts.append("warming up")
        else:
            seconds, done = report.seconds - warm.seconds, report.progress - warm.progress
            if seconds > 0:
                parts.append(f"{short((report.tokens - warm.tokens) / seconds)} tokens/s")
            if done > 0:
                parts.append(f"{duration(seconds * (1 - report.progress) / done)} left")
        return "  ".join(parts)

    def evaluation(self, report: EvaluationReport) -> str:
        self.bits_per_byte = report.bits_per_byte
        self.accuracy = report.accuracy
        return f"step {report.step}  {_held_out(report)}{'  best' if report.best else ''}"

    def run(self, run: RunReport) -> str:
        return f"{WHY[run.stopped]}  {_held_out(run)}  {run.steps} steps in {duration(run.seconds)}"


class ProgressLines:
    """Lines for a file or a pipe."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock
        self.figures = Figures()
        self.next = clock()

    @hookimpl
    def resnetbk_built(self) -> None:
        self._print(WARMING)

    @hookimpl
    def resnetbk_step(self, report: StepReport) -> None:
        self.figures.see(report)
        now = self.clock()
        if now >= self.next:
            self.next = now + EVERY
            self._print(f"step {self.figures.step(report)}")

    @hookimpl
    def resnetbk_evaluated(self, report: EvaluationReport) -> None:
        self._print(self.figures.evaluation(report))

    @hookimpl
    def resnetbk_finished(self, run: RunReport) -> None:
        self._print(self.figures.run(run))

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


class ProgressBar:
    """A bar that is updated in the hooks, so that no thread competes with the training."""

    def __init__(self, name: str, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.figures = Figures()
        self.next = clock()
        self.bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,  # what the program prints to stdout stays there
        )
        self.task = self.bar.add_task(name, total=1.0, figures=WARMING)
        # Restores the terminal even when the run ends without a report.
        self.close = weakref.finalize(self, self.bar.stop)

    @hookimpl
    def resnetbk_built(self) -> None:
        self.bar.start()

    @hookimpl
    def resnetbk_step(self, report: StepReport) -> None:
        self.figures.see(report)
        now = self.clock()
        if now >= self.next or report.progress >= 1:
            self.next = now + REFRESH
            self.bar.update(self.task, completed=report.progress, figures=self.figures.step(report))
            self.bar.refresh()

    @hookimpl
    def resnetbk_evaluated(self, report: EvaluationReport) -> None:
        self._print(self.figures.evaluation(report))

    @hookimpl
    def resnetbk_finished(self, run: RunReport) -> None:
        self.close()
        self._print(self.figures.run(run))

    @hookimpl
    def resnetbk_interrupted(self) -> None:
        self.close()

    def _print(self, line: str) -> None:
        self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _held_out(report: EvaluationReport | RunReport) -> str:
    if report.accuracy is not None:
        return f"held-out loss {report.loss:.4f}  accuracy {report.accuracy:.4f}"
    return f"held-out loss {report.loss:.4f}  {report.bits_per_byte:.4f} bits/byte"


def short(number: float) -> str:
    """1234567 -> `1.2M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"
