"""Averaged weights, which are evaluated and saved in place of those that are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from resnetbk.errors import StorageError
from resnetbk.kinds import Optimizer, Weight


def to_averages(optimizer: Optimizer) -> None:
    """From now on the weights are those that are evaluated. Nothing without averages."""
    getattr(optimizer, "eval", lambda: None)()


@contextmanager
def averaged(optimizer: Optimizer) -> Iterator[None]:
    """Within it the weights are those that are evaluated and saved; after it those that are trained."""
    to_averages(optimizer)
    try:
        yield
    finally:
        getattr(optimizer, "train", lambda: None)()


class Averaging:
    """An optimizer whose weights are averaged, for `train.average`.

    After update s, counted from 0, each average goes 1 - d of the way to its weight, d being `decay` or, if
    that is less, (1 + s) / (10 + s), so that the first weights are soon forgotten (as in TensorFlow's
    ExponentialMovingAverage). `other` holds the averages; after `eval` the weights that are trained.
    """

    def __init__(self, optimizer: Optimizer, weights: Sequence[Weight], decay: float) -> None:
        self.optimizer: Any = optimizer
        self.decay = decay
        self.parameters = {weight.name: weight.parameter for weight in weights}
        self.other = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.evaluating = False

    @property
    def found_inf(self) -> Tensor | None:
        """The optimizer's own, which may have none."""
        found_inf: Tensor | None = self.optimizer.found_inf
        return found_inf

    @found_inf.setter
    def found_inf(self, value: Tensor | None) -> None:
        self.optimizer.found_inf = value

    @torch.no_grad()
    def update(self, step: int, progress: float) -> float:
        rate: float = self.optimizer.update(step, progress)
        share: Any = 1.0 - min(self.decay, (1 + step) / (10 + step))
        found_inf = getattr(self.optimizer, "found_inf", None)
        if found_inf is not None:
            share = torch.where(found_inf > 0, 0.0, share)
        averages = list(self.other.values())
        ways = torch._foreach_sub(list(self.parameters.values()), averages)
        torch._foreach_mul_(ways, share)
        torch._foreach_add_(averages, ways)
        return rate

    def eval(self) -> None:
        if not self.evaluating:
            self._swap()

    def train(self) -> None:
        if self.evaluating:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            before = parameter.clone()
            parameter.copy_(self.other[name])
            self.other[name].copy_(before)
        self.evaluating = not self.evaluating

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self.optimizer.state_dict()
        return {"optimizer": state, "other": self.other, "evaluating": self.evaluating}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Then the weights are those that are trained. Raises StorageError for a state of other weights."""
        if state.keys() != self.state_dict().keys() or state["other"].keys() != self.other.keys():
            raise StorageError("optimizer state: is not of these weights and their averages (train.average)")
        for name, tensor in state["other"].items():
            self.other[name].copy_(tensor)
        self.evaluating = state["evaluating"]
        self.train()
        self.optimizer.load_state_dict(state["optimizer"])
