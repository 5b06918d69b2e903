"""Ctrl-C, SIGTERM, and what clusters and lost connections send: finish the step, save, then end."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from types import FrameType

from resnetbk.errors import ResnetbkError

NOTED = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
]


class Interrupted(ResnetbkError):
    """A run that a signal ended after saving; exit code 128 + the signal's number."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


class Signals:
    """While active, the first signal is noted in `received`; a second SIGINT ends it at once, except under
    torchrun, which sends each a second time. Outside, a signal does what it does to any program."""

    def __init__(self) -> None:
        self.received = 0
        self._around: Signals | None = None
        self._restore = ExitStack()

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for signum in NOTED:
                before = signal.getsignal(signum)
                around = getattr(before, "__self__", None)
                if isinstance(around, Signals):
                    self._around = around
                    self.received = self.received or around.received
                if before not in (None, signal.SIG_IGN):  # ignored as for jobs in the background, under nohup
                    self._restore.callback(signal.signal, signum, signal.signal(signum, self._note))
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore.close()
        if self._around:  # a signal after the last step of this run is its
            self._around.received = self._around.received or self.received

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.received and signum == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise KeyboardInterrupt
        self.received = signum


def end_at_once() -> None:
    """From now on Ctrl-C ends the process as SIGTERM does: also within a long native call, and silently."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
