"""Muon's update: momentum, orthogonalised by a Newton-Schulz iteration.

Matrices of one shape, transposed if they have more rows than columns, are processed as a batch: for small
matrices the cost is that of the calls, not of the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from resnetbk.kinds import Weight

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Jordan's quintic: steepest at zero, so that small singular values grow in few iterations."""

ITERATIONS = 5

BLOCK = 2**19
"""Largest number of elements in a batch, so that it fits in a core's cache with intermediate results."""


class MuonUpdate:
    """Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon) for matrices."""

    def __init__(self, rate: float, momentum: float, weight_decay: float) -> None:
        self.rate, self.momentum, self.weight_decay = rate, momentum, weight_decay
        self.state: dict[str, dict[str, Tensor]] = {}

    def apply(self, weights: Sequence[Weight], factor: float) -> None:
        rate = self.rate * factor
        alike: dict[tuple[torch.Size, torch.device], list[tuple[Tensor, Tensor]]] = {}
        for weight in weights:
            flat = self._direction(weight)
            if flat.shape[0] > flat.shape[1]:
                flat = flat.mT
            alike.setdefault((flat.shape, flat.device), []).append((weight.parameter, flat))
        for (shape, _), pairs in alike.items():
            together = max(1, BLOCK // shape.numel())
            for first in range(0, len(pairs), together):
                self._step(pairs[first : first + together], rate)

    def _direction(self, weight: Weight) -> Tensor:
        """Nesterov momentum of one weight, as a running mean."""
        parameter, grad = weight.parameter, weight.parameter.grad
        assert grad is not None
        if weight.name not in self.state:
            self.state[weight.name] = {"momentum": torch.zeros_like(parameter)}
        mean = self.state[weight.name]["momentum"].lerp_(grad, 1.0 - self.momentum)
        return grad.lerp(mean, self.momentum)

    def _step(self, pairs: Sequence[tuple[Tensor, Tensor]], rate: float) -> None:
        if len(pairs) == 1:
            directions = [orthogonalized(pairs[0][1])]
        else:
            directions = list(orthogonalized(torch.stack([flat for _, flat in pairs])))
        for (parameter, _), direction in zip(pairs, directions, strict=True):
            rows, columns = parameter.shape
            if self.weight_decay:
                parameter.mul_(1.0 - rate * self.weight_decay)
            parameter.add_(
                direction.mT if rows > columns else direction,
                alpha=-rate * math.sqrt(max(1.0, rows / columns)),
            )


def orthogonalized(matrices: Tensor) -> Tensor:
    """(m, n) or (G, m, n), m <= n -> U V^T of each U S V^T, with singular values of about 0.7 to 1.2.

    Five rounds of x <- a x + b (x x^T) x + c (x x^T)^2 x from x / ||x||_F, in bfloat16 where that is
    fast. Singular values below a thousandth of the norm do not get there; zero stays zero.
    """
    a, b, c = COEFFICIENTS
    norm = torch.linalg.matrix_norm(matrices, keepdim=True).clamp_min(1e-7)
    x: Tensor = (matrices / norm).to(_dtype(matrices.device))
    # A batch of one is much slower than a matrix.
    fused = torch.addmm if x.ndim == 2 else torch.baddbmm
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = fused(x, fused(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _dtype(device: torch.device) -> torch.dtype:
    fast = device.type == "cuda" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.bfloat16 if fast else torch.float32
