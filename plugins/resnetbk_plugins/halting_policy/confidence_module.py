"""The torch module of `confidence`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from resnetbk.kinds import Exit, Finished, Rows, Stack
from resnetbk_plugins.halting_policy.halting_unit import Live, only, units


class ConfidenceHalting(nn.Module):
    """A unit D -> D/4 -> 1 for each layer but the last, which starts without an opinion."""

    def __init__(self, width: int, stacks: Sequence[Stack], agree: float, weight: float, drop: float) -> None:
        super().__init__()
        self.agree = agree
        self.drop = drop
        self.layers = only(stacks).layers
        inner = max(0, len(self.layers) - 1)
        self.weights = [share / (weight * inner + 1) for share in (*[weight] * inner, 1.0)]
        self.units = units(stacks, width, width // 4, 0.0)

    def begin(self, stack: int, rows: Rows) -> LearningPass | LeavingPass:
        return LearningPass(self, rows) if self.training else LeavingPass(self, rows)


class LearningPass:
    """Each layer is an exit. Rows dropped after a layer count in no deeper one, and teach no unit: what they
    would agree with is an answer that was not the last layer's.

    `_depth` (B, M): how many layers a row runs; none if it is padding.
    """

    running: Tensor | None = None

    def __init__(self, policy: ConfidenceHalting, rows: Rows) -> None:
        self._policy = policy
        self._x = rows.x
        self._live = Live(rows)
        self._exits: list[Exit] = []
        shape, device, layers = rows.x.shape[:2], rows.x.device, len(policy.layers)
        self._depth = self._live.put(torch.full((self._live.real,), layers, device=device))
        if policy.drop and layers > 1:
            depth = torch.randint(1, layers, shape, device=device)
            dropped = torch.rand(shape, device=device) < policy.drop
            self._depth = torch.where(dropped, depth.minimum(self._depth), self._depth)

    def observe(self, layer: int, x: Tensor) -> None:
        self._x = x
        done, layers = len(self._exits) + 1, len(self._policy.layers)
        weight = self._policy.weights[done - 1] * (self._depth >= done)
        confidence = None
        if done < layers:
            logit = self._policy.units[str(layer)](self._live.take(x.detach()))
            confidence = torch.where(self._depth == layers, self._live.put(logit), 0)
        self._exits.append(Exit(x, weight, confidence))
        if self._policy.drop:
            self.running = self._depth > done

    def finish(self) -> Finished:
        """The rows (B, M, D) last seen, and an exit for each layer."""
        return Finished(self._x, {}, tuple(self._exits))


class LeavingPass:
    """A row leaves after the first layer at which the unit foretells agreement with probability `agree`."""

    def __init__(self, policy: ConfidenceHalting, rows: Rows) -> None:
        self._policy = policy
        self._x = rows.x
        self._live = Live(rows)

    @property
    def running(self) -> Tensor | None:
        """(B, M) bool, or None as long as no row has halted."""
        return self._live.mask

    def observe(self, layer: int, x: Tensor) -> None:
        self._x = x
        if str(layer) in self._policy.units:
            logit = self._policy.units[str(layer)](self._live.take(x))
            self._live.halt(torch.sigmoid(logit) >= self._policy.agree)

    def finish(self) -> Finished:
        """The rows (B, M, D) last seen: those that have halted stayed as they were."""
        return Finished(self._x)
