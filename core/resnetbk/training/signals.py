"""Ctrl-C and SIGTERM: finish the step, save, then end."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from types import FrameType

from resnetbk.errors import ResnetbkError


class Interrupted(ResnetbkError):
    """A run that a signal ended after saving; exit code 128 + the signal's number."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


class Signals:
    """While active, the first SIGINT or SIGTERM is noted in `received`; a second SIGINT ends it at once."""

    def __init__(self) -> None:
        self.received = 0
        self._restore = ExitStack()

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(signum) is not signal.SIG_IGN:  # as it is for jobs in the background
                    self._restore.callback(signal.signal, signum, signal.signal(signum, self._note))
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore.close()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.received and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signum
