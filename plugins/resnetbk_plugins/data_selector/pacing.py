"""Pacing functions: the share of the windows that is in use, by the progress of the run."""

from __future__ import annotations

import math

PACINGS = ("linear", "root", "step")


def share(pacing: str, start: float, way: float) -> float:
    """The share, from `start` at way 0 to 1 at way 1 and beyond.

    linear  start + (1 - start) way
    root    sqrt(start^2 + (1 - start^2) way): slows down as the share grows, so that all new windows are
            trained on for as long (Platanios et al. 2019, arXiv:1903.09848)
    step    start until way 1 (single-step pacing: Hacohen and Weinshall 2019, arXiv:1904.03626)
    """
    if way >= 1.0:
        return 1.0
    if pacing == "linear":
        return start + (1.0 - start) * way
    if pacing == "root":
        return math.sqrt(start**2 + (1.0 - start**2) * way)
    return start
