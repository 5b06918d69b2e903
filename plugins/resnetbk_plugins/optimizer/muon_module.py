"""Muon's update: momentum, orthogonalised by a Newton-Schulz iteration.

Matrices of one shape, transposed if they have more rows than columns, are processed as a batch: for small
matrices the cost is that of the calls, not of the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from resnetbk.kinds import Weight
from resnetbk_plugins.optimizer.updates import unless

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Jordan's quintic: steepest at zero, so that small singular values grow in few iterations."""

ITERATIONS = 5

BLOCK = {"cpu": 2**19, "cuda": 2**24}
"""Largest number of elements in a batch: on a CPU so that it fits in a core's cache with intermediate
results, elsewhere so that these are few beside the model."""


class MuonUpdate:
    """Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon) for matrices."""

    def __init__(self, rate: float, momentum: float, weight_decay: float) -> None:
        self.rate, self.momentum, self.weight_decay = rate, momentum, weight_decay
        self.state: dict[str, dict[str, Tensor]] = {}

    def apply(self, weights: Sequence[Weight], factor: float, found_inf: Tensor | None = None) -> None:
        alike: dict[tuple[torch.Size, torch.device], list[Weight]] = {}
        for weight in weights:
            key = _flat(weight.parameter).shape, weight.parameter.device
            alike.setdefault(key, []).append(weight)
        for (shape, device), group in alike.items():
            together = max(1, BLOCK.get(device.type, BLOCK["cuda"]) // shape.numel())
            for first in range(0, len(group), together):
                self._step(group[first : first + together], self.rate * factor, found_inf)

    def _step(self, group: Sequence[Weight], rate: float, found_inf: Tensor | None) -> None:
        """Updates weights whose flat shapes are alike."""
        parameters: list[Tensor] = [weight.parameter for weight in group]
        flat, means = [_flat(parameter) for parameter in parameters], [self._mean(weight) for weight in group]
        gradients = [weight.parameter.grad for weight in group]
        with unless(found_inf, [_flat(mean) for mean in means]):
            torch._foreach_lerp_(means, gradients, 1.0 - self.momentum)  # type: ignore[arg-type]
            # Nesterov momentum, as a running mean
            nesterov = _lerp(gradients, means, self.momentum)
        directions = [_flat(_whole(direction)) for direction in nesterov]
        if len(group) == 1:
            directions = [orthogonalized(directions[0])]
        else:
            directions = list(orthogonalized(torch.stack(directions)))
        scales = [math.sqrt(max(1.0, p.shape[0] / p.shape[1])) for p in parameters]
        with unless(found_inf, flat):
            if self.weight_decay:
                torch._foreach_mul_(parameters, 1.0 - rate * self.weight_decay)
            for scale in dict.fromkeys(scales):
                chosen = [i for i, other in enumerate(scales) if other == scale]
                steps = [_shard(directions[i], flat[i]) for i in chosen]
                torch._foreach_add_([flat[i] for i in chosen], steps, alpha=-rate * scale)

    def _mean(self, weight: Weight) -> Tensor:
        if weight.name not in self.state:
            self.state[weight.name] = {"momentum": torch.zeros_like(weight.parameter)}
        return self.state[weight.name]["momentum"]


def _lerp(tensors: Any, ends: list[Tensor], weight: float) -> Sequence[Tensor]:
    """The tensors, as far on the way to the ends as `weight` says."""
    if not hasattr(ends[0], "full_tensor"):
        return torch._foreach_lerp(tensors, ends, weight)
    copies = [tensor.clone() for tensor in tensors]  # torch 2.10 does it to shards in place alone
    torch._foreach_lerp_(copies, ends, weight)
    return copies


def _flat(matrix: Tensor) -> Tensor:
    """The matrix, or its transpose if it has more rows than columns."""
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _whole(matrix: Any) -> Tensor:
    """The matrix, gathered if processes hold shards of it."""
    whole: Tensor = matrix.full_tensor() if hasattr(matrix, "full_tensor") else matrix
    return whole


def _shard(matrix: Tensor, like: Any) -> Tensor:
    """This process's shard of the matrix, if `like` is one."""
    if not hasattr(like, "full_tensor"):
        return matrix
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(matrix, like.device_mesh, like.placements, src_data_rank=None)


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
