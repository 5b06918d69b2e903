"""Intervals from a handful of pairs.

Student's t on logarithms of ratios, not a percentile bootstrap: of five pairs the bootstrap's 95 % interval
holds the truth about 84 % of the time, because it sees only the spread of those five; t allows for not
knowing the spread.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from resnetbk_instrument.results.comparison import FEWEST, Interval

CONFIDENCE = 0.95


def within(t: float, freedom: int) -> float:
    """The probability that |T| <= t for Student's T with that many degrees of freedom: the finite series of
    Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(3 if odd else 2, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


@functools.cache
def t_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t with `within(t, freedom) == confidence`."""
    low, high = 0.0, 1.0
    while within(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < confidence else (low, middle)
    return high


def mean_interval(values: Sequence[float]) -> Interval:
    """Of the mean of independent values, roughly normal."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < FEWEST:
        return Interval(mean, -math.inf, math.inf, n, tuple(values))
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile(n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, tuple(values))


def geometric_interval(values: Sequence[float]) -> Interval:
    """Of the geometric mean of positive values."""
    logarithms = mean_interval([math.log(value) for value in values])
    return Interval(
        math.exp(logarithms.estimate),
        _exp(logarithms.low),
        _exp(logarithms.high),
        logarithms.n,
        tuple(values),
    )


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> Interval:
    """Of the geometric mean of paired ratios."""
    return geometric_interval([a / b for a, b in zip(above, below, strict=True)])


def difference_interval(minuend: Sequence[float], subtrahend: Sequence[float]) -> Interval:
    """Of the mean of paired differences."""
    return mean_interval([a - b for a, b in zip(minuend, subtrahend, strict=True)])


def _exp(value: float) -> float:
    """Infinite beyond the largest float."""
    return math.exp(value) if value < 709 else math.inf
