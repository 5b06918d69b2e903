"""What goes to a terminal: one rule for all output, and for terminals that are missing or absurd."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO, TypeVar

T = TypeVar("T")

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal would obey: controls but for tab and line feed, and those that reverse text."""

SLOW = 10.0
DAYS = 99
"""Beyond, nobody needs the seconds."""


def harmless(text: str) -> str:
    """`text` with controls shown instead of obeyed (ESC as U+241B); every letter stays as it is."""
    return _CONTROLS.sub(_picture, text)


def _picture(control: re.Match[str]) -> str:
    code = ord(control[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def standard_error() -> TextIO:
    """Standard error, or nowhere in a program that has none."""
    return sys.stderr or _nowhere()


@functools.cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def duration(seconds: float) -> str:
    """`0:01:12`, `3 days, 0:10:00`, or `12,000 days` where it is for ever."""
    days = seconds / 86400
    return str(timedelta(seconds=round(seconds))) if days < DAYS else f"{days:,.0f} days"


@contextmanager
def told_if_slow(what: str) -> Iterator[None]:
    """Says what is being waited for when it does not end."""
    said = f"{what} has taken {SLOW:.0f} seconds so far; Ctrl-C ends it"
    timer = threading.Timer(SLOW, logging.getLogger("resnetbk").warning, (said,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def steps_told(what: str, steps: Iterable[T], total: int) -> Iterator[T]:
    """`steps`, while standard error tells how many of `total` are done, if they take long: by a bar on a
    terminal, elsewhere in a line every `SLOW` seconds."""
    from rich.console import Console
    from rich.progress import track

    started = said = time.monotonic()
    if (stream := standard_error()).isatty():
        yield from track(steps, what, total, console=Console(file=stream), transient=True)
        return
    for done, step in enumerate(steps):
        if (now := time.monotonic()) >= said + SLOW and done:
            left = duration((now - started) / done * (total - done))
            logging.getLogger("resnetbk").info("%s: %d of %d, %s left", what, done, total, left)
            said = now
        yield step


def ignore_absurd_size() -> None:
    """Forgets what the environment says of a terminal that would be too narrow or too wide for any table."""
    for name in ("COLUMNS", "LINES"):
        said = os.environ.get(name, "")
        if name in os.environ and not (said.isdecimal() and 10 <= int(said[:9]) <= 10_000):
            del os.environ[name]
