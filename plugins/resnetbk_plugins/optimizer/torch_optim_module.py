"""A class of torch.optim as an update rule; building one imports torch's compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from resnetbk.kinds import Weight
from resnetbk_plugins.optimizer.updates import DECAYED


class TorchUpdate:
    """An optimizer of torch by the name of its class, with weight decay on the roles in DECAYED. Raises what
    the class raises for options that it refuses."""

    def __init__(
        self,
        name: str,
        weights: Sequence[Weight],
        rate: float,
        weight_decay: float,
        options: Mapping[str, Any],
    ) -> None:
        self.rate = rate
        self.state: dict[str, dict[str, Tensor]] = {}
        settings = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
        decays = ((True, weight_decay), (False, 0.0))
        groups = [{"params": _of(weights, decayed), "weight_decay": decay} for decayed, decay in decays]
        self.optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(groups, lr=rate, **settings)

    def apply(self, weights: Sequence[Weight], factor: float, found_inf: Tensor | None = None) -> None:
        """`found_inf` must be None."""
        for group, decayed in zip(self.optimizer.param_groups, (True, False), strict=True):
            group["lr"] = self.rate * factor
            group["params"] = _of(weights, decayed)
        for weight in weights:
            state = self.state.setdefault(weight.name, self.optimizer.state[weight.parameter])
            if "step" in state and not self.optimizer.defaults.get("fused"):
                state["step"] = state[
                    "step"
                ].cpu()  # where torch counts, and a state that was loaded does not
            self.optimizer.state[weight.parameter] = state
        self.optimizer.step()


def _of(weights: Sequence[Weight], decayed: bool) -> list[Any]:
    return [weight.parameter for weight in weights if (weight.role in DECAYED) == decayed]
