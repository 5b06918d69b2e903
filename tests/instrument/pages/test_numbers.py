"""Numbers and pictures of a page: rounded as is honest, and readable."""

from __future__ import annotations

import itertools
import math

import attrs
import pytest

from resnetbk_instrument.pages import numbers as report_page
from resnetbk_instrument.pages import svg as report_svg
from resnetbk_instrument.results.comparison import Interval
from resnetbk_instrument.results.costs import BYTES, COSTS


def test_digits_keep_three_that_count():
    shown = {0.0: "0", 0.00123: "0.00123", 12.34: "12.3", 9.996: "10.0", 123456.0: "123,000", -2.5: "−2.50"}
    assert {value: report_page.digits(value) for value in shown} == shown
    assert report_page.digits(3.4e12) == "3.40e+12"
    assert report_page.digits(math.inf) == report_page.NOTHING


def test_ends_of_intervals_are_rounded_outwards():
    assert report_page.ends(Interval(5.9, 5.2199, 6.6001, 5), report_page.digits) == "5.21 to 6.61"
    assert report_page.ends(Interval(0.0, -0.01249, 0.0121, 5), report_page.change) == "−0.013 to +0.013"
    assert report_page.digits(1.13, math.floor) == "1.13"


@pytest.mark.parametrize("amounts", [(1, 1, 1), (2, 1, 0), (0.335, 0.335, 0.33), (1e-9, 1), (7,) * 12])
@pytest.mark.parametrize("places", [0, 1])
def test_shares_add_up_to_100_and_are_off_by_less_than_their_last_digit(amounts, places):
    shown = [float(share) for share in report_page.shares(amounts, places)]
    assert sum(shown) == pytest.approx(100)
    exact = [100 * amount / sum(amounts) for amount in amounts]
    assert all(abs(a - b) < 10**-places for a, b in zip(shown, exact, strict=True))
    assert report_page.shares([0.0, 0.0]) == ["0", "0"]


def test_what_is_shown_of_a_spread():
    three, two = Interval(5.9, 5.2, 6.6, 3, (5.5, 5.9, 6.4)), Interval(5.9, 0, math.inf, 2, (5.5, 6.3))
    assert report_page.spread(three, report_page.digits) == "5.20 to 6.60"
    assert report_page.spread(two, report_page.digits) == "each 5.50, 6.30"
    assert report_page.spread(attrs.evolve(two, n=1, values=(5.9,)), report_page.digits) == ""


def test_units_leave_no_value_below_one():
    assert report_page.amount(COSTS["seconds"].units, 90.0) == "1.50 min"
    assert report_page.Unit.of(COSTS["seconds"].units, [14.0, 7000.0]).name == "s"
    assert report_page.amount(COSTS["flops"].units, 3.1e13) == "31.0 TFLOP"
    assert report_page.amount(BYTES, 300 * 2**20) == "300 MiB"


def test_words_that_would_meet_move_apart_and_keep_their_order():
    assert report_svg.spread([1.0, 5.0], 2.0) == [1.0, 5.0]
    places = report_svg.spread([3.0, 1.0, 1.1, 1.2], 1.0)
    assert places[1] < places[2] < places[3] < places[0]
    gaps = sorted(places)
    assert all(b - a >= 1.0 - 1e-9 for a, b in itertools.pairwise(gaps))


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (1.0, 12.0), (3.0, 4.0), (1e-3, 1e7)])
def test_ticks_are_few_and_inside(low, high):
    ticks = report_svg.log_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low <= tick <= high for tick in ticks)
