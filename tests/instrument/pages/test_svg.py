"""Pictures: every point at its place, every word escaped."""

from __future__ import annotations

import math
import re

import pytest

from resnetbk_instrument.pages.curves import Curve, Rule, curves
from resnetbk_instrument.pages.svg import WIDTH, Picture, Scale, even_ticks
from resnetbk_instrument.results.costs import COSTS


def places(picture: str, color: str) -> list[list[tuple[float, float]]]:
    """Of each line in this colour, its points."""
    lines = re.findall(rf'<polyline points="([^"]*)" style="[^"]*stroke: var\(--{color}\)', picture)
    return [[(float(x), float(y)) for x, y in (at.split(",") for at in line.split())] for line in lines]


@pytest.mark.parametrize(("log", "middle"), [(False, 5.5), (True, math.sqrt(10.0))])
def test_a_scale_maps_ends_to_ends_and_the_middle_to_the_middle(log, middle):
    scale = Scale(1.0, 10.0, 50.0, 150.0, log=log)
    assert [scale(1.0), scale(10.0)] == [50.0, 150.0]
    assert scale(middle) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1.9, 4.1, [2.0, 2.5, 3.0, 3.5, 4.0]),
        (-0.3, 0.1, [-0.3, -0.2, -0.1, 0.0, 0.1]),
    ],
)
def test_even_ticks_are_round_and_within(low, high, ticks):
    assert even_ticks(low, high) == pytest.approx(ticks)


def test_a_curve_runs_as_its_numbers_do():
    curve = Curve(hue=1, x=[1.0, 10.0, 100.0], y=[4.0, 3.0, 2.0], low=[3.9, 2.9, 1.9], high=[4.1, 3.1, 2.1])
    picture = curves(COSTS["seconds"], "Loss", [curve], [Rule(3.0, "<a goal>", goal=True)])
    (points,) = places(picture, "hue-1")
    (xs, ys) = zip(*points, strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.02)  # on a logarithmic axis
    assert ys[1] - ys[0] == pytest.approx(ys[2] - ys[1], abs=0.02)
    assert 0 < xs[0] < xs[2] < WIDTH
    assert 0 < ys[0] < ys[2] < 270.0  # falling
    (rule,) = places(picture, "ink")
    assert {y for _, y in rule} == {ys[1]}
    assert "&lt;a goal&gt;" in picture
    band = re.search(r'<polygon points="([^"]*)"', picture)
    assert band is not None
    assert len(band[1].split()) == 6


def test_a_curve_without_points_is_no_picture():
    assert curves(None, "Rate", [Curve(hue=0, x=[1.0], y=[math.nan])]) == ""


def test_words_and_labels_are_escaped():
    picture = Picture(100.0)
    picture.text((0.0, 0.0), "<script>&", halo=True)
    written = picture.svg('"quoted"')
    assert "<script>" not in written
    assert 'aria-label="&quot;quoted&quot;"' in written
    assert 'class="halo"' in written
