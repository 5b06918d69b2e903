"""The torch module of `ponder`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import Exit, Finished, Rows, Stack
from resnetbk_plugins.halting_policy.halting_unit import halting_units, single_stack
from resnetbk_plugins.halting_policy.live_rows import LiveRows


class PonderHalting(nn.Module):
    """A halting unit D -> D/2 -> 1 for each layer except the last, where all rows halt."""

    def __init__(
        self,
        width: int,
        stacks: Sequence[Stack],
        prior: float,
        weight: float,
        warmup: float,
        halt: float,
        leave: float,
        bias: float,
    ) -> None:
        super().__init__()
        self.weight = self.last_weight = weight
        self.warmup = warmup
        self.halt = halt
        self.leave = leave
        self.log_prior = log_geometric(prior, len(single_stack(stacks).layers))
        self.units = halting_units(stacks, width, width // 2, bias)

    def anneal(self, progress: float) -> None:
        """The weight grows linearly from 0 to what the spec says."""
        self.weight = self.last_weight * (min(1.0, progress / self.warmup) if self.warmup else 1.0)

    def begin(self, stack: int, rows: Rows) -> TrainingPass | InferencePass:
        return TrainingPass(self, rows) if self.training else InferencePass(self, rows)

    def logit(self, layer: int, rows: Tensor) -> Tensor:
        """(R, D) -> (R,): logit of the probability lambda to halt after a layer; infinite after the last."""
        if str(layer) in self.units:
            logit: Tensor = self.units[str(layer)](rows)
            return logit
        return rows.new_full((len(rows),), math.inf, dtype=torch.promote_types(rows.dtype, torch.float32))


class TrainingPass:
    """The probability to halt after layer n is p_n = lambda_n (1 - lambda_1) ... (1 - lambda_{n-1}), which
    sums to 1 over the layers; each layer is an exit with weight p_n. `_stay` (R,) is the logarithm of the
    product, for real rows. A random choice of them, `_may_leave`, halts where it would in `InferencePass`,
    and its remaining probability is the weight of that exit.

    The output rows, without gradient, are those of the layers at which the rows would halt in inference.
    """

    def __init__(self, policy: PonderHalting, rows: Rows) -> None:
        wide = torch.promote_types(rows.x.dtype, torch.float32)
        self.running: Tensor | None = None
        self._policy = policy
        self._live = LiveRows(rows)
        self._x = rows.x.detach()
        self._stay = rows.x.new_zeros(self._live.real, dtype=wide)
        chance = torch.rand(rows.x.shape[:2], device=rows.x.device)
        self._may_leave = self._live.take(chance) < policy.leave
        self._divergence = self._stay
        self._exits: list[Exit] = []

    def observe(self, layer: int, x: Tensor) -> None:
        on = self._going(self._stay)
        self._x = torch.where(self._live.put(on)[..., None], x.detach(), self._x)
        logit = self._policy.logit(layer, self._live.take(x))
        log_p = self._stay + F.logsigmoid(logit)
        log_prior = self._policy.log_prior[len(self._exits)]
        self._divergence = self._divergence + log_p.exp() * (log_p - log_prior)
        rest, self._stay = self._stay.exp(), self._stay + F.logsigmoid(-logit)
        here = torch.where(self._going(self._stay), log_p.exp(), rest * on)
        self._exits.append(Exit(x, self._live.put(torch.where(self._may_leave, here, log_p.exp()))))
        if self._policy.leave:
            self.running = self._live.put(self._going(self._stay) | ~self._may_leave)

    def finish(self) -> Finished:
        """The penalty `ponder` is KL(p || prior), a mean over the rows that run every layer."""
        whole = ~self._may_leave
        divergence = (self._divergence * whole).sum() / whole.sum().clamp(min=1)
        penalties = {"ponder": self._policy.weight * divergence}
        return Finished(self._x, penalties, tuple(self._exits))

    def _going(self, stay: Tensor) -> Tensor:
        """(R,) bool: the rows that would not have halted so far in `InferencePass`."""
        return halted(stay.detach()) < self._policy.halt


class InferencePass:
    """A row halts after the first layer at which its cumulative halting probability reaches `halt`."""

    def __init__(self, policy: PonderHalting, rows: Rows) -> None:
        wide = torch.promote_types(rows.x.dtype, torch.float32)
        self._policy = policy
        self._x = rows.x
        self._live = LiveRows(rows)
        self._stay = rows.x.new_zeros(self._live.real, dtype=wide)

    @property
    def running(self) -> Tensor | None:
        """(B, M) bool, or None as long as no row has halted."""
        return self._live.mask

    def observe(self, layer: int, x: Tensor) -> None:
        self._x = x
        stay = self._stay + F.logsigmoid(-self._policy.logit(layer, self._live.take(x)))
        _, on = self._live.halt(halted(stay) >= self._policy.halt)
        self._stay = stay.index_select(0, on)

    def finish(self) -> Finished:
        """The rows (B, M, D) after the last layer, which leaves halted rows unchanged."""
        return Finished(self._x)


def halted(stay: Tensor) -> Tensor:
    """The probability to have halted, from the logarithm of the probability not to have halted."""
    return -torch.expm1(stay)


def log_geometric(rate: float, layers: int) -> list[float]:
    """log of rate (1 - rate)^(n - 1) for n = 1 to `layers`, normalised to a distribution."""
    total = math.log1p(-((1 - rate) ** layers)) if layers else 0.0
    return [math.log(rate) + n * math.log1p(-rate) - total for n in range(layers)]
