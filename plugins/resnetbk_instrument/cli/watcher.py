"""What a comparison says on the way."""

from __future__ import annotations

import time

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType

from resnetbk.terminal import duration, standard_error
from resnetbk_instrument.session.plan import Progress

_ERASE = Control((ControlType.ERASE_IN_LINE, 2), ControlType.CARRIAGE_RETURN)


class Watcher:
    """Says what a session does, on standard error: a line for each training that ended; on a terminal also
    what trains now, drawn between trainings alone, so that no thread competes with them."""

    def __init__(self) -> None:
        stream = standard_error()
        self.console = Console(file=stream, highlight=False)
        self.live = stream.isatty() and not self.console.is_dumb_terminal

    def watch(self, progress: Progress) -> None:
        left = "" if progress.left is None else f"  about {duration(progress.left)} left"
        trial = progress.trial
        start = f"{progress.stage:12} {progress.variant}  {progress.steps:,} steps"
        if trial is not None:
            result = trial.failed or f"loss {trial.outcome.loss:.4f}  {trial.cost('seconds'):.1f} s"
            self.say(f"{start}  {result}{left}")
        elif self.live:
            end = (
                time.strftime("%H:%M", time.localtime(time.time() + progress.left)) if progress.left else "?"
            )
            self.console.print(f"{start} ... (end: {end})", end="\r", style="dim", markup=False, no_wrap=True)

    def say(self, line: str) -> None:
        if self.live:
            self.console.control(_ERASE)
        self.console.print(line, markup=False, soft_wrap=True)
