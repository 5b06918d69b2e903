"""Intervals hold what they say they hold, for as few values as comparisons have."""

from __future__ import annotations

import math
import random

import pytest

from resnetbk_instrument.results.ablate import judged
from resnetbk_instrument.results.comparison import Interval
from resnetbk_instrument.results.statistics import (
    difference_interval,
    geometric_interval,
    mean_interval,
    ratio_interval,
    t_quantile,
    within,
)

# two-sided 95 % quantiles, as printed in tables
TABLE = {
    1: 12.7062,
    2: 4.3027,
    3: 3.1824,
    4: 2.7764,
    5: 2.5706,
    9: 2.2622,
    10: 2.2281,
    30: 2.0423,
    120: 1.9799,
}


@pytest.mark.parametrize(("freedom", "quantile"), TABLE.items())
def test_quantiles_of_student_are_those_of_the_tables(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=5e-5)
    assert within(t_quantile(freedom), freedom) == pytest.approx(0.95, abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12])
def test_the_probability_is_the_integral_of_the_density(freedom):
    def density(t: float) -> float:
        scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
        return scale / math.sqrt(freedom * math.pi) * (1 + t * t / freedom) ** (-(freedom + 1) / 2)

    for t in (0.3, 1.0, 2.5):
        width = t / 2000
        integral = sum(density((i + 0.5) * width) for i in range(2000)) * 2 * width
        assert within(t, freedom) == pytest.approx(integral, abs=1e-6)


@pytest.mark.parametrize("n", [3, 5, 8])
def test_19_of_20_intervals_of_a_mean_hold_it(n):
    chance = random.Random(n)
    hits = 0
    for _ in range(4000):
        result = mean_interval([chance.gauss(3.0, 2.0) for _ in range(n)])
        hits += result.low <= 3.0 <= result.high
    assert hits / 4000 == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("values", [(2.0,), (1.0, 4.0)])
def test_fewer_than_three_values_give_themselves_and_no_interval(values):
    n = len(values)
    assert mean_interval(values) == Interval(sum(values) / n, -math.inf, math.inf, n, values)
    assert geometric_interval(values) == Interval(pytest.approx(2.0), 0.0, math.inf, n, values)
    assert judged(geometric_interval([2.0] * n), 1.0) == "undecided"


def test_equal_values_have_no_width():
    three = [2.0, 4.0, 6.0]
    assert ratio_interval(three, [1.0, 2.0, 3.0]) == Interval(*[pytest.approx(2.0)] * 3, 3, (2.0,) * 3)
    assert difference_interval(three, [1.0, 3.0, 5.0]) == Interval(1.0, 1.0, 1.0, 3, (1.0,) * 3)


def test_ratios_are_turned_round_by_turning_the_pair_round():
    above, below = [2.0, 2.4, 1.9], [1.0, 1.1, 1.05]
    there, back = ratio_interval(above, below), ratio_interval(below, above)
    assert there.estimate == pytest.approx(1 / back.estimate)
    assert (there.low, there.high) == (pytest.approx(1 / back.high), pytest.approx(1 / back.low))
    assert there.low < there.estimate < there.high


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="shorter"):
        ratio_interval([1.0, 2.0], [1.0])


def test_wild_ratios_do_not_overflow():
    result = ratio_interval([1e100, 1.0, 1.0], [1e-100, 1.0, 1.0])
    assert result.high == math.inf
    assert result.low >= 0.0
