import torch

from resnetbk.kinds import Rows
from resnetbk_plugins.sparsity_gate.open import Open


def test_keeps_all_rows_at_full_weight_for_nothing() -> None:
    keep = Open().build(width=4, depth=2).keep(0, Rows(torch.randn(2, 5, 4), torch.arange(5).repeat(2, 1)))
    assert keep.mask is None
    assert keep.weight is None
    assert keep.penalties == {}


def test_the_computed_rows_go_on_in_both_forms() -> None:
    gate = Open().build(width=4, depth=2)
    before, after = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    keep = gate.keep(0, Rows(before, torch.arange(5).repeat(2, 1)))
    assert gate.fill(0, before, after, keep) is after
    assert gate.fill_step(0, before, after, keep, gate.initial_state(2)) == (after, {})
