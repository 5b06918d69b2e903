"""Update rules, and the optimizer that assigns each weight to one of them.

The steps are torch's functional ones: they have no state of their own, so state can be stored by weight name
and saved exactly, and unlike torch's classes they do not import its compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.adamw import adamw

from resnetbk.errors import StorageError
from resnetbk.kinds import Weight
from resnetbk_plugins.optimizer.schedule import Schedule

DECAYED = ("matrix", "table")
"""Roles of the weights that weight decay applies to."""


class Update(Protocol):
    """An update rule. `state` holds tensors by weight name, from the first gradient of a weight on."""

    state: dict[str, dict[str, Tensor]]

    def apply(self, weights: Sequence[Weight], factor: float, found_inf: Tensor | None = None) -> None:
        """Updates weights, all of which have gradients, at `factor` times the peak rate; changes nothing
        where `found_inf`, see `kinds.Optimizer`, is not zero."""
        ...


@contextmanager
def unless(found_inf: Tensor | None, tensors: Sequence[Tensor]) -> Iterator[None]:
    """What is done within it to tensors of one shape and type is undone, to the bit, where `found_inf` is not
    zero: the device decides, and NaN is no obstacle."""
    before = None if found_inf is None else torch.stack(list(tensors))
    yield
    if found_inf is not None and before is not None:
        kept = torch.where(found_inf > 0, before, torch.stack(list(tensors)))
        torch._foreach_copy_(list(tensors), list(kept.unbind()))


class ScheduledUpdates:
    """An optimizer. Each weight is updated by the rule that `route` names, weights with sparse gradients by
    `adagrad`: those whose gradient is a sparse tensor or whose parameter has `sparse_gradient = True`. The
    rate reported is `rate` times the schedule's factor; a weight's own is multiplied by its `Weight.rate`.
    It has `found_inf`, see `kinds.Optimizer`, if all rules heed it: if it is `guarded`.
    """

    def __init__(
        self,
        weights: Sequence[Weight],
        updates: dict[str, Update],
        schedule: Schedule,
        rate: float,
        route: Callable[[Weight], str],
        guarded: bool = True,
    ) -> None:
        self.weights = tuple(weights)
        self.updates = updates
        self.schedule = schedule
        self.rate = rate
        self.route = route
        if guarded:
            self.found_inf: Tensor | None = None

    @torch.no_grad()
    def update(self, step: int, progress: float) -> float:
        """A step of every weight that has a gradient; then sets all gradients to None."""
        factor = self.schedule.factor(step, progress)
        shares: dict[tuple[str, float], list[Weight]] = {}
        for weight in self.weights:
            if weight.parameter.grad is not None:
                name = "adagrad" if _sparse(weight) else self.route(weight)
                shares.setdefault((name, weight.rate), []).append(weight)
        for (name, rate), weights in shares.items():
            self.updates[name].apply(weights, factor * rate, getattr(self, "found_inf", None))
        for weight in self.weights:
            weight.parameter.grad = None
        return self.rate * factor

    def state_dict(self) -> dict[str, Any]:
        """update -> weight -> tensors, not copies: save them before the next update."""
        return {name: update.state for name, update in self.updates.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copies a state in. Raises StorageError when it is of another optimizer or of other weights."""
        if set(state) != set(self.updates):
            raise StorageError(f"optimizer state: is of {sorted(state)}, not of {sorted(self.updates)}")
        known = {weight.name: weight.parameter for weight in self.weights}
        for name, update in self.updates.items():
            for weight, tensors in state[name].items():
                if weight not in known:
                    raise StorageError(f"optimizer state: the model has no weight {weight!r}")
                for tensor in tensors.values():
                    if not _fits(tensor, known[weight]):
                        raise StorageError(
                            f"optimizer state: {weight!r} has shape {tuple(known[weight].shape)}, "
                            f"its state {tuple(tensor.shape)}"
                        )
            update.state = {
                weight: {key: tensor.to(known[weight].device, copy=True) for key, tensor in tensors.items()}
                for weight, tensors in state[name].items()
            }


def _fits(state: Tensor, parameter: Tensor) -> bool:
    """Whether it is one number, or of the parameter's shape, but for axes of 1 as means over one have."""
    sizes = zip(state.shape, parameter.shape, strict=False)
    return not state.ndim or (state.ndim == parameter.ndim and all(a in (1, b) for a, b in sizes))


def _sparse(weight: Weight) -> bool:
    grad = weight.parameter.grad
    return (grad is not None and grad.is_sparse) or getattr(weight.parameter, "sparse_gradient", False)


class AdamWUpdate:
    """AdamW, with weight decay on the roles in DECAYED."""

    def __init__(self, rate: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        self.rate, self.betas, self.eps, self.weight_decay = rate, betas, eps, weight_decay
        self.state: dict[str, dict[str, Tensor]] = {}

    def apply(self, weights: Sequence[Weight], factor: float, found_inf: Tensor | None = None) -> None:
        decayed = [weight for weight in weights if weight.role in DECAYED]
        others = [weight for weight in weights if weight.role not in DECAYED]
        for group, weight_decay in ((decayed, self.weight_decay), (others, 0.0)):
            states = [self._state(weight) for weight in group]
            adamw(
                [weight.parameter for weight in group],
                [weight.parameter.grad for weight in group],  # type: ignore[misc]
                [state["mean"] for state in states],
                [state["square"] for state in states],
                [],
                [state["count"] for state in states],
                fused=True,  # one pass over memory: a quarter of the time on a CPU
                found_inf=found_inf,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=self.rate * factor,
                weight_decay=weight_decay,
                eps=self.eps,
                maximize=False,
            )

    def _state(self, weight: Weight) -> dict[str, Tensor]:
        parameter = weight.parameter
        if weight.name not in self.state:
            self.state[weight.name] = {
                "mean": torch.zeros_like(parameter),
                "square": torch.zeros_like(parameter),
                "count": torch.zeros((), dtype=torch.float32, device=parameter.device),
            }
        return self.state[weight.name]


class AdagradUpdate:
    """Adagrad; the cost of a sparse gradient depends on its rows, not on the length of the table."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.state: dict[str, dict[str, Tensor]] = {}

    def apply(self, weights: Sequence[Weight], factor: float, found_inf: Tensor | None = None) -> None:
        for weight in weights:
            parameter, grad = weight.parameter, weight.parameter.grad
            assert grad is not None
            if weight.name not in self.state:
                self.state[weight.name] = {"sum": torch.zeros_like(parameter)}
            total = self.state[weight.name]["sum"]
            if grad.is_sparse:
                grad = grad.coalesce()  # a row that occurs twice takes one step, with its summed gradient
                index = grad.indices()[0]
                rows, sums = parameter.index_select(0, index), total.index_select(0, index)
                with unless(found_inf, (rows, sums)):
                    self._step(rows, grad.values(), sums, factor)
                parameter.index_copy_(0, index, rows)
                total.index_copy_(0, index, sums)
            else:
                with unless(found_inf, (parameter, total)):
                    self._step(parameter, grad, total, factor)

    def _step(self, x: Tensor, grad: Tensor, total: Tensor, factor: float) -> None:
        adagrad(
            [x],
            [grad],
            [total],
            [torch.zeros(())],  # the step count, used only by a learning rate decay
            fused=x.is_cpu and not hasattr(x, "full_tensor"),  # torch has none for shards
            lr=self.rate * factor,
            weight_decay=0.0,
            lr_decay=0.0,
            eps=1e-10,
            maximize=False,
        )
