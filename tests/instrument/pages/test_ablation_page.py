"""The page of an ablation: what each part is worth, and what all of them are."""

from __future__ import annotations

import attrs
import measured
import pytest
from html_page import Page, lead, written

pytest.importorskip("matplotlib", reason="reports need matplotlib, the extra `plots`")


def test_an_ablation_says_each_worth_and_the_measured_whole(tmp_path):
    text = written(measured.ablation(), tmp_path)
    assert lead(text).startswith(
        "The spec with all factors reaches 1.88 nats in at least 2.81× less time than the one without any"
    )
    words = Page(text).text
    assert "in combination" in words
    shared = ("mixer, 3 targets", "2.20", "1.70", "0.770", "the cost of parent runs is shared")
    for said in ("keep mixer; drop halting", "plain -> quick", "2.00", "1.50", "0.750", "0.800", *shared):
        assert said in words, said
    assert "only halting: 1.88 was not reached" in words
    assert "only gate (needs a mixer)" in words
    assert "1.20" not in words  # 1.5 x 0.8: gains are not multiplied


def test_an_ablation_whose_whole_was_not_measured(tmp_path):
    said = lead(written(attrs.evolve(measured.ablation(), whole="", factors=()), tmp_path))
    assert said == "The combination of all factors was not measured."
