"""The torch module of `confidence`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from resnetbk.kinds import Exit, Finished, Rows, Stack
from resnetbk_plugins.halting_policy.halting_unit import halting_units, single_stack
from resnetbk_plugins.halting_policy.live_rows import LiveRows


class ConfidenceHalting(nn.Module):
    """A unit D -> D/4 -> 1 for each layer except the last, with an initial bias of zero."""

    def __init__(self, width: int, stacks: Sequence[Stack], agree: float, weight: float, drop: float) -> None:
        super().__init__()
        self.agree = agree
        self.drop = drop
        self.layers = single_stack(stacks).layers
        inner = max(0, len(self.layers) - 1)
        self.weights = [share / (weight * inner + 1) for share in (*[weight] * inner, 1.0)]
        self.units = halting_units(stacks, width, width // 4, 0.0)

    def begin(self, stack: int, rows: Rows) -> TrainingPass | InferencePass:
        return TrainingPass(self, rows) if self.training else InferencePass(self, rows)


class TrainingPass:
    """Each layer is an exit. Rows dropped after a layer count at no deeper exit, and train no unit: they
    have no prediction of the last layer to agree with.

    `_depth` (B, M): the number of layers that a row runs, 0 for padding.
    """

    running: Tensor | None = None

    def __init__(self, policy: ConfidenceHalting, rows: Rows) -> None:
        self._policy = policy
        self._x = rows.x
        self._live = LiveRows(rows)
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
        """The rows (B, M, D) after the last layer, and an exit for each layer."""
        return Finished(self._x, {}, tuple(self._exits))


class InferencePass:
    """A row halts after the first layer whose unit predicts agreement with probability `agree`."""

    def __init__(self, policy: ConfidenceHalting, rows: Rows) -> None:
        self._policy = policy
        self._x = rows.x
        self._live = LiveRows(rows)

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
        """The rows (B, M, D) after the last layer, which leaves halted rows unchanged."""
        return Finished(self._x)
