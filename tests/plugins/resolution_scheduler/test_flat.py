import torch

from resnetbk.kinds import Rows, Stack
from resnetbk_plugins.resolution_scheduler.flat import Flat


def rows(length: int = 5) -> Rows:
    return Rows(torch.randn(2, length, 4), torch.arange(length).repeat(2, 1))


def test_all_layers_form_one_stack_at_level_zero() -> None:
    assert Flat().build(width=4, depth=3).stacks == (Stack(0, (0, 1, 2)),)


def test_rows_pass_unchanged() -> None:
    flat = Flat().build(width=4, depth=3)
    fine, coarse = rows(), rows()
    assert flat.down(1, fine, torch.zeros(2, 5, dtype=torch.int64)) is fine
    assert flat.up(1, fine, coarse) is coarse


def test_each_single_row_begins_a_row() -> None:
    flat = Flat().build(width=4, depth=3)
    row = rows(1)
    same, begins, state = flat.down_step(1, row, torch.zeros(2, dtype=torch.int64), flat.initial_state(2))
    assert same is row
    assert begins.dtype == torch.bool
    assert begins.tolist() == [True, True]
    assert state == {}
