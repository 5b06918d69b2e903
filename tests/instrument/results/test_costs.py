"""The table of costs is the one place that says what a cost is."""

from __future__ import annotations

from resnetbk_instrument.results.costs import COSTS, INFERENCE, SHOWN, TRAINING


def test_the_columns_of_every_table_are_taken_from_one():
    assert set(SHOWN) <= set(COSTS.values())
    assert set(TRAINING) | set(INFERENCE) == set(SHOWN)
    for key, cost in COSTS.items():
        assert cost.key == key
        sizes = [size for size, _ in cost.units]
        assert sizes == sorted(sizes)
        assert len({name for _, name in cost.units}) == len(sizes)
