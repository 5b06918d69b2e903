"""Checks of gradient strategies, optimizers, initializers and observers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.hooks import HOOKS
from resnetbk.kinds import Batch, BatchLoss, with_role
from resnetbk.model.weights import weights
from resnetbk.training.averaging import averaged
from resnetbk.training.observers import manager
from resnetbk_authoring.testing.subject import DEPTH, Subject, reloaded, require, same, seeded, text

STEPS = 12


class Toy(nn.Module):
    """A model with a weight of each role, and the strategy or optimizer that the component builds for it."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(2)
        self.embedding = nn.Embedding(256, 8)
        self.trunk = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(8, 8)])})
        self.taps = with_role(nn.Parameter(torch.empty(2, 8)), "convolution")
        self.head = nn.Linear(8, 256, bias=False)
        with_role(self.head.weight, "table")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=source))
        self.passes = 0
        self.built: Any = subject.component.build(weights=weights(self))

    def objective(self, batch: Batch) -> BatchLoss:
        self.passes += 1
        x = self.embedding(batch.inputs)
        x = x * self.taps[1] + F.pad(x[:, :-1], (0, 0, 1, 0)) * self.taps[0]
        layers: Any = self.trunk["layers"]
        for layer in layers:
            x = x + torch.tanh(layer(x))
        losses = F.cross_entropy(self.head(x).transpose(1, 2), batch.targets, reduction="none")
        loss = losses.mean()
        return BatchLoss(loss, loss.detach(), losses.mean(1).detach(), {})


def _batch(step: int, size: int = 8) -> Batch:
    tokens = text(13, seed=step, batch=size)
    return Batch(tokens[:, :-1], tokens[:, 1:])


def _gradients(toy: Toy) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.detach().to_dense().clone() for p in toy.parameters()]


# ---------------------------------------------------------------- gradient strategies


def finite_gradients(subject: Subject) -> None:
    """Every step leaves finite gradients, changes no weight, and returns the loss of the whole batch."""
    toy = Toy(subject)
    before = [parameter.detach().clone() for parameter in toy.parameters()]
    for step in range(STEPS):
        batch = _batch(step)
        result = toy.built.gradients(step, batch, toy.objective)
        gradients = [gradient for gradient in _gradients(toy) if gradient is not None]
        require(gradients, f"step {step} left no gradient")
        require(all(bool(torch.isfinite(g).all()) for g in gradients), f"step {step}: not finite")
        with torch.no_grad():
            whole = toy.objective(batch)
        same(result.cross_entropy, whole.cross_entropy, "the loss of the batch", 1e-5)
        same(result.window_losses, whole.window_losses, "the losses of its windows", 1e-5)
        same([*toy.parameters()], before, "weights, which the optimizer alone may change", 0.0)


def shares_average(subject: Subject) -> None:
    """The gradients of two halves of a batch, of as many passes, average to the gradient of the whole."""
    whole, *halves = (Toy(subject) for _ in range(3))
    batch = _batch(0)
    whole.built.gradients(0, batch, whole.objective)
    for toy, half in zip(halves, (slice(0, 4), slice(4, 8)), strict=True):
        toy.built.gradients(0, Batch(batch.inputs[half], batch.targets[half]), toy.objective)
    means = [
        None if a is None or b is None else (a + b) / 2
        for a, b in zip(*(_gradients(toy) for toy in halves), strict=True)
    ]
    assert halves[0].passes == halves[1].passes, "equal shares take unequal passes"
    same(means, _gradients(whole), "the halves of a batch and the whole", 1e-6)


def reproducible_gradients(subject: Subject) -> None:
    """The same batches give the same gradients."""
    first, second = (_steps(Toy(subject), range(STEPS)) for _ in range(2))
    same(second, first, "with the same batches", 0.0)


def strategy_resumed(subject: Subject) -> None:
    """Restored from the state of any step, it gives the gradients of the uninterrupted strategy."""
    for stop in (0, 1, 5, STEPS - 1):
        whole, again = Toy(subject), Toy(subject)
        _steps(whole, range(stop))
        saved = reloaded(whole.built.state())
        rest = _steps(whole, range(stop, STEPS))
        again.built.restore(saved)
        same(_steps(again, range(stop, STEPS)), rest, f"resumed at step {stop}", 0.0)


def _steps(toy: Toy, steps: range) -> list[list[Tensor | None]]:
    """The gradients that its strategy leaves after each step."""
    gradients = []
    for step in steps:
        with seeded(step):
            toy.built.gradients(step, _batch(step), toy.objective)
        gradients.append(_gradients(toy))
    return gradients


# ---------------------------------------------------------------- optimizers


def lowers_loss(subject: Subject) -> None:
    """Its updates lower the loss of a batch, return the rate, and clear the gradients."""
    toy, batch = Toy(subject), _batch(0)
    first = toy.objective(batch).loss.item()
    for step in range(30):
        toy.objective(batch).loss.backward()  # type: ignore[no-untyped-call]
        rate = toy.built.update(step, step / 30)
        require(isinstance(rate, float), f"the rate of step {step} is {rate!r}")
        left = [p.grad for p in toy.parameters() if p.grad is not None and p.grad.abs().max() > 0]
        require(not left, "gradients are left, and would add up")
    last = toy.objective(batch).loss.item()
    require(last < first, f"30 steps on a batch took its loss from {first:.3f} to {last:.3f}")


def no_update_without_gradient(subject: Subject) -> None:
    """A weight without a gradient does not change."""
    toy = Toy(subject)
    before = toy.head.weight.detach().clone()
    for step in range(3):
        toy.objective(_batch(step)).loss.backward()  # type: ignore[no-untyped-call]
        toy.head.weight.grad = None
        toy.built.update(step, step / 30)
    require(torch.equal(toy.head.weight, before), "it changed a weight that had no gradient")


def reproducible_updates(subject: Subject) -> None:
    """The same gradients give the same weights."""
    first, second = Toy(subject), Toy(subject)
    _updates(first, range(8))
    _updates(second, range(8))
    _same_weights(first, second, "with the same gradients")


def optimizer_resumed(subject: Subject) -> None:
    """With its state loaded it makes the same updates, bit for bit; so does it after it gave its averages."""
    whole, again = Toy(subject), Toy(subject)
    _updates(whole, range(5))
    before = {name: parameter.detach().clone() for name, parameter in whole.named_parameters()}
    with averaged(whole.built):
        again.load_state_dict(whole.state_dict())
        again.built.load_state_dict(reloaded(whole.built.state_dict()))
    same(dict(whole.named_parameters()), before, "weights after averages in their place", 0.0)
    _updates(whole, range(5, 10))
    _updates(again, range(5, 10))
    _same_weights(whole, again, "after its state was loaded")


def _updates(toy: Toy, steps: range) -> None:
    for step in steps:
        toy.objective(_batch(step)).loss.backward()  # type: ignore[no-untyped-call]
        with seeded(step):
            toy.built.update(step, step / 20)


def _same_weights(first: nn.Module, second: nn.Module, when: str) -> None:
    same(dict(second.named_parameters()), dict(first.named_parameters()), f"weights {when}", 0.0)


# ---------------------------------------------------------------- initializers


def reports_in_lines(subject: Subject) -> None:
    """It returns lines that say what it did, and leaves finite weights."""
    model, lines = _started(subject)
    require(
        all(isinstance(line, str) and "\n" not in line for line in lines),
        "what it returned is not a list of lines",
    )
    for name, parameter in model.named_parameters():
        require(torch.isfinite(parameter).all(), f"{name} is not finite")


def reproducible_start(subject: Subject) -> None:
    """From the same seed it gives the same weights."""
    _same_weights(_started(subject)[0], _started(subject)[0], "from the same seed")


def _started(subject: Subject) -> tuple[nn.Module, list[str]]:
    model, data = subject.model(stirred=False).float(), subject.spec().data
    tokenizer = data.tokenizer.component.build(text=data.corpus.component.build())
    with seeded():
        return model, subject.component.build().initialize(model, tokenizer, DEPTH)


# ---------------------------------------------------------------- observers


def implements_hooks(subject: Subject) -> None:
    """What it builds implements at least one hook, and none that does not exist."""
    with tempfile.TemporaryDirectory() as folder:
        built = subject.component.build(folder=Path(folder), spec=subject.spec())
        hooks = manager([built]).hook
        heard = any(getattr(hooks, name).get_hookimpls() for name in HOOKS)
        require(heard, "it implements no hook of resnetbk.hooks")
