import pytest
import torch
from torch import Tensor, nn

from resnetbk_plugins.sparsity_gate.fill import Fill

WIDTH = 6


def filled_by_hand(before: Tensor, after: Tensor, computed: Tensor, weight: Tensor) -> Tensor:
    out = after.clone()
    for b, i in (~computed).nonzero().tolist():
        for back in range(1, len(weight) + 1):
            if i >= back:
                out[b, i] += weight[-back] * (after - before)[b, i - back]
    return out


def a_case(rows: int = 13, batch: int = 3, share: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    before = torch.randn(batch, rows, WIDTH, dtype=torch.float64)
    computed = torch.rand(batch, rows) < share
    after = torch.where(computed[..., None], before + torch.randn_like(before), before)
    return before, after, computed


def a_fill(size: int) -> Fill:
    fill = Fill((1, 3), WIDTH, size).double()
    for weight in fill.parameters():
        nn.init.normal_(weight)
    return fill


@pytest.mark.parametrize("size", [1, 4, 20])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_it_is_the_sum_it_says(size: int, share: float) -> None:
    torch.manual_seed(size)
    fill, (before, after, computed) = a_fill(size), a_case(share=share)
    expected = filled_by_hand(before, after, computed, fill.weights["3"])
    filled = fill(3, before, after, computed)
    torch.testing.assert_close(filled, expected)
    assert torch.equal(filled[computed], after[computed])


def test_a_fresh_fill_lets_rows_pass_unchanged() -> None:
    before, after, computed = a_case()
    assert torch.equal(Fill((1,), WIDTH, 4)(1, before.float(), after.float(), computed), after.float())


def test_without_a_kernel_there_is_nothing_to_learn_or_carry() -> None:
    fill, (before, after, computed) = Fill((1,), WIDTH, 0), a_case()
    assert not list(fill.parameters())
    assert fill.initial_state(3) == {}
    assert fill(1, before, after, computed) is after
    row, state = fill.step(1, before[:, :1], after[:, :1], computed[:, :1], {})
    assert torch.equal(row, after[:, :1])
    assert state == {}


@pytest.mark.parametrize("size", [1, 4])
def test_steps_give_the_same_rows_and_leave_the_state_alone(size: int) -> None:
    torch.manual_seed(0)
    fill, (before, after, computed) = a_fill(size), a_case()
    state, filled = fill.initial_state(3), []
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        "updates1": (3, size, WIDTH),
        "updates3": (3, size, WIDTH),
    }
    for i in range(13):
        at = slice(i, i + 1)
        known = {key: value.clone() for key, value in state.items()}
        row, new = fill.step(1, before[:, at], after[:, at], computed[:, at], state)
        assert all(torch.equal(state[key], value) for key, value in known.items())
        filled.append(row)
        state = new
    torch.testing.assert_close(torch.cat(filled, 1), fill(1, before, after, computed), rtol=1e-12, atol=1e-12)
    assert not state["updates3"].any()


def test_gradients_are_those_of_the_sum() -> None:
    torch.manual_seed(1)
    fill, (before, after, computed) = a_fill(3), a_case(rows=6, batch=2)
    before.requires_grad_()
    after.requires_grad_()

    def through(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(fill, {"weights.1": weight}, (1, x, y, computed))

    weight = fill.weights["1"].detach().requires_grad_()
    assert torch.autograd.gradcheck(through, (before, after, weight))
