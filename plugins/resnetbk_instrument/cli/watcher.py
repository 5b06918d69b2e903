"""What comparisons and searches say on the way."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType

from resnetbk.hooks import StepReport, hookimpl
from resnetbk.terminal import duration, standard_error
from resnetbk_instrument.session.plan import WARMING, Progress

_ERASE = Control((ControlType.ERASE_IN_LINE, 2), ControlType.CARRIAGE_RETURN)

EVERY, REFRESH = 15.0, 0.5
"""Least number of seconds between two lines within a training; on a terminal, between two drawings."""


class Watcher:
    """Says what is done, on standard error: a line for each training that ended and about every 15 seconds
    within one; on a terminal what trains now is drawn in place. As an observer of the training it writes
    between steps, where no clock of the meter runs, so that no thread competes with what is measured."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        stream = standard_error()
        self.console = Console(file=stream, highlight=False)
        self.live = stream.isatty() and not self.console.is_dumb_terminal
        self.clock, self.every = clock, REFRESH if self.live else EVERY
        self.training, self.next = "", clock()

    def watch(self, progress: Progress) -> None:
        """What a comparison does now."""
        trial = progress.trial
        start = f"{progress.stage:12} {progress.variant}  {progress.steps:,} steps"
        if trial is None:
            if progress.stage == WARMING:
                self.say(f"warming up {progress.variant}: its first steps")
            at = "" if progress.left is None else time.strftime("%H:%M", _local(progress.left))
            self.begin(f"{start} (end: {at})" if at else start)
        else:
            left = "" if progress.left is None else f"  about {duration(progress.left)} left"
            took = f"  {trial.cost('seconds'):.1f} s" if trial.timed else ""
            result = trial.failed or f"loss {trial.outcome.loss:.4f}{took}"
            self.say(f"{start}  {result}{left}")

    def begin(self, training: str) -> None:
        """A training begins, which is called so."""
        self.training, self.next = training, self.clock() + self.every
        if self.live:
            self._draw(f"{training} ...")

    @hookimpl
    def resnetbk_step(self, report: StepReport) -> None:
        now = self.clock()
        if now >= self.next:
            self.next = now + self.every
            line = f"{self.training} ... step {report.step:,}, loss {report.loss:.4f}"
            (self._draw if self.live else self.say)(line)

    def say(self, line: str) -> None:
        if self.live:
            self.console.control(_ERASE)
        self.console.print(line, markup=False, soft_wrap=True)

    def _draw(self, line: str) -> None:
        self.console.control(_ERASE)
        self.console.print(line, end="\r", style="dim", markup=False, no_wrap=True, overflow="ellipsis")


def _local(left: float) -> time.struct_time:
    return time.localtime(time.time() + left)
