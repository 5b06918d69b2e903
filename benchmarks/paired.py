"""Timing on a shared machine: candidates are interleaved in one process, ratios are paired."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def paired(candidates: dict[str, Callable[[], object]], rounds: int = 9) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, interleaved ABBA, after a warmup round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(-1, rounds):
        order = list(candidates.items())
        for name, run in order if number % 2 else reversed(order):
            start = time.perf_counter()
            run()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def ratio(slow: list[float], fast: list[float]) -> str:
    """Median of the paired ratios, with the smallest and the largest."""
    ratios = sorted(a / b for a, b in zip(slow, fast, strict=True))
    return f"{statistics.median(ratios):6.2f}x  ({ratios[0]:.2f} to {ratios[-1]:.2f})"
