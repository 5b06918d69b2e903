"""How fast the machine is right now: the seconds that a fixed piece of work takes.

A comparison calibrates before and after every training. Two calibrations on a machine with nothing else to
do differ by a few percent; another program that wants a core makes it 30 % and more. So a spread of 15 %
within a round is taken as the machine having moved, and the round is repeated.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

TOLERANCE = 0.15
REPEATS = 41

_SIDE = {"cpu": 512, "cuda": 4096, "mps": 2048}
# in one pass over memory: more than a cache holds
_NUMBERS = {"cpu": 4_000_000, "cuda": 256_000_000, "mps": 64_000_000}


def calibration(device: str = "cpu") -> Callable[[], float]:
    """Gives the function that measures: the lower quartile of the seconds of matrix products and passes over
    memory, some 0.2 s in all on two cores; a disturbance of the calibration alone is left out so."""
    import torch

    side, numbers_passed = (sizes[torch.device(device).type] for sizes in (_SIDE, _NUMBERS))
    matrix = torch.full((side, side), 1.0 / side, device=device)
    numbers = torch.zeros(numbers_passed, device=device)

    def once() -> float:
        start = time.perf_counter()
        product = matrix
        for _ in range(4):
            product = product @ matrix
            numbers.add_(1.0)
        float(product[0, 0]) + float(numbers[0])  # waits for a device that works on its own
        return time.perf_counter() - start

    def measure() -> float:
        once()  # wakes threads up
        return statistics.quantiles((once() for _ in range(REPEATS)), n=4)[0]

    return measure


def moved(speeds: Iterable[float], tolerance: float = TOLERANCE) -> bool:
    """Whether the slowest calibration took more than `tolerance` longer than the fastest."""
    seen = list(speeds)
    return max(seen) > min(seen) * (1 + tolerance)
