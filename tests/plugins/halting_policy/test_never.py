import torch

from resnetbk.kinds import Rows, Stack
from resnetbk_plugins.halting_policy.never import Never


def rows() -> Rows:
    return Rows(torch.randn(2, 5, 4), torch.arange(5).repeat(2, 1))


def test_every_row_goes_on_and_the_last_rows_seen_leave() -> None:
    policy = Never().build(width=4, stacks=(Stack(0, (0, 1)),))
    entered = rows()
    halting = policy.begin(0, entered)
    assert halting.running is None
    for layer in (0, 1):
        last = torch.randn(2, 5, 4)
        halting.observe(layer, last)
        assert halting.running is None
    left = halting.finish()
    assert left.x is last
    assert (left.penalties, left.exits) == ({}, ())


def test_a_stack_without_layers_gives_back_the_rows_that_entered() -> None:
    entered = rows()
    assert Never().build(width=4, stacks=()).begin(0, entered).finish().x is entered.x


def test_passes_do_not_share_rows() -> None:
    policy = Never().build(width=4, stacks=(Stack(0, (0,)),))
    first, second = policy.begin(0, rows()), policy.begin(0, rows())
    seen = torch.randn(2, 5, 4)
    first.observe(0, seen)
    assert second.finish().x is not seen
