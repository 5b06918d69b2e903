"""schedulefree.AdamWScheduleFree as an optimizer of weights with names and roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from schedulefree import AdamWScheduleFree
from torch import Tensor

from resnetbk.errors import StorageError
from resnetbk.kinds import Weight
from resnetbk_plugins.optimizer.updates import DECAYED


class ScheduleFreeAdamW:
    """A group for the weights of each rate that decay, and that do not. `trained` holds, by name, the weights
    that are trained while the model has their averages: the way back from those is exact up to rounding."""

    def __init__(
        self,
        weights: Sequence[Weight],
        rate: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        warmup: int,
    ) -> None:
        self.weights = tuple(weights)
        self.trained: dict[str, Tensor] = {}
        kinds: dict[tuple[float, float], list[Any]] = {}
        for weight in weights:
            decay = weight_decay if weight.role in DECAYED else 0.0
            kinds.setdefault((rate * weight.rate, decay), []).append(weight.parameter)
        self.optimizer = AdamWScheduleFree(
            [{"params": of, "lr": lr, "weight_decay": decay} for (lr, decay), of in kinds.items()],
            betas=betas,
            eps=eps,
            warmup_steps=warmup,
        )
        self.rate = rate
        self.optimizer.train()

    def update(self, step: int, progress: float) -> float:
        for weight in self.weights:
            gradient = weight.parameter.grad
            if gradient is not None and gradient.is_sparse:
                weight.parameter.grad = gradient.to_dense()
        self.optimizer.step()
        self.optimizer.zero_grad()
        group = self.optimizer.param_groups[0]
        return float(self.rate * group["scheduled_lr"] / group["lr"])

    def eval(self) -> None:
        if not self.trained:
            self.trained = {weight.name: weight.parameter.detach().clone() for weight in self.weights}
            self.optimizer.eval()

    @torch.no_grad()
    def train(self) -> None:
        for weight in self.weights if self.trained else ():
            weight.parameter.copy_(self.trained[weight.name])
        self.trained = {}
        for group in self.optimizer.param_groups:
            group["train_mode"] = True

    def state_dict(self) -> dict[str, Any]:
        """Of each weight that has been updated; of each group the count of steps and so on; and `trained`."""
        state = self.optimizer.state
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self.optimizer.param_groups
        ]
        of_weights = {w.name: dict(state[w.parameter]) for w in self.weights if state.get(w.parameter)}
        return {"state": of_weights, "groups": groups, "trained": self.trained}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Then the weights are those that are trained. Raises StorageError for a state of other weights."""
        known = {weight.name: weight.parameter for weight in self.weights}
        groups = self.optimizer.param_groups
        if state.keys() != {"state", "groups", "trained"} or len(state["groups"]) != len(groups):
            raise StorageError("optimizer state: is of another optimizer, or of weights of other roles")
        for name in (*state["state"], *state["trained"]):
            if name not in known:
                raise StorageError(f"optimizer state: the model has no weight {name!r}")
        self.optimizer.state.clear()
        for name, tensors in state["state"].items():
            self.optimizer.state[known[name]] = {
                key: tensor.to(known[name].device, copy=True) for key, tensor in tensors.items()
            }
        for group, saved in zip(groups, state["groups"], strict=True):
            group.update(saved)
        self.trained = state["trained"]
        self.train()
