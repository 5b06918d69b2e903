"""The seconds of this process from its start, by what they went for: those that people wait for a command."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTS: dict[str, float] = defaultdict(float)


def _start() -> float:
    """When the process began, by `time.monotonic`; now where the system does not tell."""
    now = time.monotonic()
    with suppress(OSError, ValueError, IndexError, AttributeError):
        stat = Path("/proc/self/stat").read_bytes().rpartition(b")")[2]  # before `)` is its name, any bytes
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat.split()[19]) / os.sysconf("SC_CLK_TCK")
        return now - age if 0 <= age <= 60 else now  # else another program ran before an `exec`
    return now


_started = _start()


@contextmanager
def part(name: str) -> Iterator[None]:
    """Adds the seconds of what runs inside to a part, but for those that are added to others there."""
    since, before = time.monotonic(), sum(PARTS.values())
    try:
        yield
    finally:
        PARTS[name] += time.monotonic() - since - (sum(PARTS.values()) - before)


def rest(name: str) -> dict[str, float]:
    """Adds to a part all that no part has until now; gives the seconds of each, which add up to the whole."""
    PARTS[name] += time.monotonic() - _started - sum(PARTS.values())
    return dict(PARTS)
