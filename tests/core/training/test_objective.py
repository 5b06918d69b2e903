"""What is minimised: the cross-entropy, or that of every exit, and penalties by name."""

from __future__ import annotations

import pytest
import synthetic as s
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from resnetbk.kinds import Batch, Exit, Finished
from resnetbk.training import objective as objective_module
from resnetbk.training.objective import objective


def batch(length: int = 9) -> Batch:
    tokens = torch.randint(s.VOCABULARY, (3, length + 1), generator=torch.Generator().manual_seed(0))
    return Batch(tokens[:, :-1], tokens[:, 1:])


def nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


def test_without_exits_the_loss_is_the_cross_entropy_and_the_penalties():
    model = s.build(gate=s.Every())
    result, output = objective(model, batch(), "fp32")
    expected = nats(output.logits, batch().targets)
    torch.testing.assert_close(result.window_losses, expected.mean(1).detach(), check_dtype=False)
    torch.testing.assert_close(result.cross_entropy, expected.mean().detach(), check_dtype=False)
    assert set(result.penalties) == {"balance", "ponder", "sparsity"}
    torch.testing.assert_close(
        result.loss, expected.mean() + sum(result.penalties.values()), check_dtype=False
    )


class Weighted:
    """Exits with weights and, of the inner ones, a confidence. What leaves is the first one's rows."""

    running = None

    def __init__(self, weights, confidence=None) -> None:
        self.weights, self.confidence = weights, confidence

    def begin(self, stack, rows):
        self.left = []
        return self

    def observe(self, layer, x) -> None:
        inner = len(self.left) + 1 < len(self.weights)
        self.left.append(Exit(x, self.weights[len(self.left)], self.confidence if inner else None))

    def finish(self) -> Finished:
        return Finished(self.left[0].x, {}, tuple(self.left))


def test_exits_take_the_place_of_the_cross_entropy_by_their_weights():
    chances = torch.rand(3, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = s.build(depth=2, halting=Weighted([chances, 1 - chances]))
    result, output = objective(model, batch(), "fp32")
    first, last = (nats(answer.logits, batch().targets) for answer in output.answers)
    learned = (chances * first + (1 - chances) * last).mean()
    torch.testing.assert_close(
        result.loss, learned + sum(result.penalties.values()), check_dtype=False, rtol=1e-6, atol=1e-6
    )
    # what is reported is the answer that was given
    torch.testing.assert_close(result.cross_entropy, first.mean().detach(), check_dtype=False)


def test_confidence_learns_how_often_an_exit_agrees_with_the_last_one():
    uncertainty = torch.zeros(3, 9, requires_grad=True)
    model = s.build(depth=2, halting=Weighted([0.5, 0.5], uncertainty))
    rate = torch.optim.SGD([uncertainty], lr=20.0)
    for _ in range(200):
        rate.zero_grad()
        result, output = objective(model, batch(), "fp32")
        result.loss.backward()
        rate.step()
    agrees = output.answers[0].logits.argmax(-1) == output.answers[1].logits.argmax(-1)
    assert 0 < int(agrees.sum()) < agrees.numel()
    assert torch.equal(uncertainty > 0, agrees)
    assert float(result.penalties["agreement"]) == pytest.approx(0.0, abs=0.1)


class Largest(TorchDispatchMode):
    """The most fp32 numbers in a tensor that was made."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dtype == torch.float32:
            self.numbers = max(self.numbers, out.numel())
        return out


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_large_logits_are_never_whole_in_fp32(monkeypatch, rows):
    made = torch.Generator().manual_seed(0)
    logits, targets = (
        torch.randn(3, 9, 50, generator=made).bfloat16(),
        torch.randint(50, (3, 9), generator=made),
    )
    weight = torch.rand(3, 9, generator=made)

    def losses_and_gradient():
        x = logits.clone().requires_grad_()
        with Largest() as largest:
            losses = objective_module.token_losses(x, targets)
            (losses * weight).sum().backward()
        return largest.numbers, losses, x.grad

    whole, *expected = losses_and_gradient()
    assert whole == logits.numel()
    monkeypatch.setattr(objective_module, "WHOLE", 4 * 50 * rows + 3)
    most, *parts = losses_and_gradient()
    assert most == max(50 * rows, targets.numel())
    assert all(torch.equal(a, b) for a, b in zip(parts, expected, strict=True))
    with torch.inference_mode():
        assert torch.equal(objective_module.token_losses(logits, targets), expected[0])
