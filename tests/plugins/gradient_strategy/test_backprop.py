import logging

import pytest
import torch

from resnetbk.errors import UserError
from resnetbk.kinds import Batch, BatchLoss
from resnetbk_plugins.gradient_strategy.backprop import Backprop


def step(toy, batch, accumulate: int):
    strategy = Backprop(accumulate=accumulate).build(weights=toy.weights())
    return strategy.gradients(0, batch, toy.objective), toy.gradients()


def test_one_piece_is_plain_back_propagation(toy, batch):
    expected = toy.plain(batch(6))
    result, actual = step(toy, batch(6), 1)
    assert actual.keys() == expected.keys()
    for name, gradient in actual.items():
        assert torch.equal(gradient, expected[name])
    assert torch.equal(result.loss, toy.objective(batch(6)).loss)


@pytest.mark.parametrize(
    ("size", "accumulate", "pieces"), [(6, 3, [2, 2, 2]), (7, 3, [3, 2, 2]), (2, 5, [1, 1])]
)
def test_pieces_give_the_gradient_of_the_whole(toy, batch, size, accumulate, pieces):
    whole, expected = step(toy, batch(size), 1)
    toy.calls.clear()
    result, actual = step(toy, batch(size), accumulate)
    assert toy.calls == [(piece, True) for piece in pieces]
    assert len(actual) == len(expected) == 4
    for name, gradient in actual.items():
        torch.testing.assert_close(gradient, expected[name])
    torch.testing.assert_close(result.loss, whole.loss)
    torch.testing.assert_close(result.cross_entropy, whole.cross_entropy)
    torch.testing.assert_close(result.window_losses, whole.window_losses)
    torch.testing.assert_close(result.penalties["size"], whole.penalties["size"])


def test_the_objective_comes_back_detached(toy, batch):
    result, _ = step(toy, batch(4), 2)
    assert not result.loss.requires_grad
    assert not result.cross_entropy.requires_grad
    assert not result.window_losses.requires_grad
    assert not any(value.requires_grad for value in result.penalties.values())


def test_gradients_left_from_a_refused_step_do_not_count(toy, batch):
    _, first = step(toy, batch(6), 2)
    toy.idle.grad = torch.ones(3, dtype=torch.float64)
    _, second = step(toy, batch(6), 2)
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        assert torch.equal(gradient, second[name])
    assert toy.idle.grad is None


def test_a_penalty_that_one_piece_does_not_name_counts_as_zero_there(toy, batch):
    plain = toy.objective

    def sometimes(piece: Batch) -> BatchLoss:
        result = plain(piece)
        if len(toy.calls) == 1:
            return BatchLoss(result.loss, result.cross_entropy, result.window_losses, {})
        return result

    strategy = Backprop(accumulate=2).build(weights=toy.weights())
    result = strategy.gradients(0, batch(4), sometimes)
    second = plain(Batch(batch(4).inputs[2:], batch(4).targets[2:]))
    torch.testing.assert_close(result.penalties["size"], second.penalties["size"] / 2)


def test_fewer_than_one_piece_is_refused():
    with pytest.raises(ValueError, match="accumulate"):
        Backprop(accumulate=0)


# ---------------------------------------------------------------- out of memory

FULL = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "linux": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    "windows": RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8"),
    "numpy": MemoryError("Unable to allocate 8.00 GiB for an array"),
}


def noisy(toy, room: int, error: BaseException, tried: list[int]):
    """An objective with a random draw, which fails beyond `room` windows: after the draw, in `backward`."""

    def objective(piece: Batch) -> BatchLoss:
        tried.append(len(piece.inputs))
        result = toy.objective(piece)
        loss = result.loss * torch.rand(())
        if len(piece.inputs) > room:
            loss = Fails.apply(loss, error)
        return BatchLoss(loss, result.cross_entropy, result.window_losses, result.penalties)

    return objective


class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, error):
        ctx.error = error
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ctx.error


@pytest.mark.parametrize("error", FULL.values(), ids=FULL.keys())
def test_a_batch_that_does_not_fit_is_split_and_draws_the_same_numbers(toy, batch, error, caplog):
    torch.manual_seed(5)
    expected = Backprop(accumulate=4).build(weights=toy.weights())
    expected.gradients(0, batch(8), noisy(toy, 8, error, []))
    gradients, drawn = toy.gradients(), torch.rand(1)

    torch.manual_seed(5)
    tried: list[int] = []
    strategy = Backprop().build(weights=toy.weights())
    result = strategy.gradients(0, batch(8), noisy(toy, 2, error, tried))
    assert tried == [8, 4, 2, 2, 2, 2]
    assert len(result.window_losses) == 8
    for name, gradient in toy.gradients().items():
        assert torch.equal(gradient, gradients[name])
    assert torch.equal(torch.rand(1), drawn)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]

    tried.clear()
    strategy.gradients(1, batch(8), noisy(toy, 2, error, tried))
    assert tried == [2, 2, 2, 2], "what fits is remembered"
    resumed = Backprop().build(weights=toy.weights())
    resumed.restore(strategy.state())
    tried.clear()
    resumed.gradients(2, batch(8), noisy(toy, 2, error, tried))
    assert tried == [2, 2, 2, 2]


def test_one_window_that_does_not_fit_is_the_users_mistake(toy, batch):
    strategy = Backprop().build(weights=toy.weights())
    tried: list[int] = []
    with pytest.raises(UserError, match="one window") as caught:
        strategy.gradients(0, batch(6), noisy(toy, 0, FULL["cuda"], tried))
    assert "\n" not in str(caught.value)
    assert tried == [6, 3, 2, 1]


def test_other_errors_pass(toy, batch):
    strategy = Backprop().build(weights=toy.weights())
    tried: list[int] = []
    with pytest.raises(RuntimeError, match="shapes"):
        strategy.gradients(0, batch(6), noisy(toy, 0, RuntimeError("shapes cannot be multiplied"), tried))
    assert tried == [6]
