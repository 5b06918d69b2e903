import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import Batch, Objective
from resnetbk_plugins.gradient_strategy.backprop import Backprop


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6, dtype=torch.float64)
        self.hashed = nn.Embedding(11, 6, sparse=True, dtype=torch.float64)
        self.head = nn.Linear(6, 11, dtype=torch.float64)
        self.idle = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.calls: list[int] = []

    def objective(self, batch: Batch) -> Objective:
        self.calls.append(len(batch.inputs))
        x = self.table(batch.inputs) + self.hashed(batch.inputs)
        losses = F.cross_entropy(self.head(x).flatten(0, 1), batch.targets.flatten(), reduction="none")
        windows = losses.view(batch.targets.shape).mean(1)
        penalty = 0.1 * x.square().mean()
        return Objective(windows.mean() + penalty, windows.mean(), windows.detach(), {"size": penalty})


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    return Toy()


def batch(size: int) -> Batch:
    tokens = torch.randint(11, (size, 8), generator=torch.Generator().manual_seed(size))
    return Batch(tokens[:, :-1], tokens[:, 1:])


def gradients(toy: Toy, size: int, accumulate: int) -> tuple[Objective, list[Tensor]]:
    strategy = Backprop(accumulate=accumulate).build(parameters=list(toy.parameters()))
    result = strategy.gradients(0, batch(size), toy.objective)
    return result, [p.grad.to_dense() for p in toy.parameters() if p.grad is not None]


def test_one_piece_is_plain_back_propagation(toy: Toy) -> None:
    result, found = gradients(toy, 6, 1)
    toy.zero_grad()
    expected = toy.objective(batch(6))
    expected.loss.backward()
    for one, other in zip(found, (p.grad for p in toy.parameters() if p.grad is not None), strict=True):
        torch.testing.assert_close(one, other.to_dense(), rtol=0, atol=0)
    assert torch.equal(result.loss, expected.loss)


@pytest.mark.parametrize(
    ("size", "accumulate", "pieces"), [(6, 3, [2, 2, 2]), (7, 3, [3, 2, 2]), (2, 5, [1, 1])]
)
def test_pieces_give_the_gradient_of_the_whole(
    toy: Toy, size: int, accumulate: int, pieces: list[int]
) -> None:
    whole, expected = gradients(toy, size, 1)
    toy.calls.clear()
    result, found = gradients(toy, size, accumulate)
    assert toy.calls == pieces
    assert len(found) == len(expected) == 4
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(result.loss, whole.loss.detach())
    torch.testing.assert_close(result.cross_entropy, whole.cross_entropy.detach())
    torch.testing.assert_close(result.window_losses, whole.window_losses)
    torch.testing.assert_close(result.penalties["size"], whole.penalties["size"].detach())


def test_the_objective_comes_back_detached(toy: Toy) -> None:
    result, _ = gradients(toy, 4, 2)
    assert not result.loss.requires_grad
    assert not result.cross_entropy.requires_grad
    assert not result.window_losses.requires_grad
    assert not any(value.requires_grad for value in result.penalties.values())


def test_gradients_left_from_a_refused_step_do_not_count(toy: Toy) -> None:
    _, first = gradients(toy, 6, 2)
    toy.idle.grad = torch.ones(3, dtype=torch.float64)
    _, second = gradients(toy, 6, 2)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    assert toy.idle.grad is None


def test_a_penalty_that_one_piece_does_not_name_counts_as_zero_there(toy: Toy) -> None:
    plain = toy.objective

    def sometimes(piece: Batch) -> Objective:
        found = plain(piece)
        if len(toy.calls) == 1:
            return Objective(found.cross_entropy, found.cross_entropy, found.window_losses, {})
        return found

    strategy = Backprop(accumulate=2).build(parameters=list(toy.parameters()))
    result = strategy.gradients(0, batch(4), sometimes)
    toy.calls.clear()
    second = plain(Batch(batch(4).inputs[2:], batch(4).targets[2:]))
    torch.testing.assert_close(result.penalties["size"], second.penalties["size"].detach() / 2)
    torch.testing.assert_close(result.loss, result.cross_entropy + result.penalties["size"])


def test_nothing_is_kept_and_fewer_than_one_piece_is_refused(toy: Toy) -> None:
    assert Backprop().build(parameters=[]).state() == {}
    with pytest.raises(ValueError, match="accumulate"):
        Backprop(accumulate=0)
