"""Calls of the loop kernels in `numba_kernels` and `triton_kernels`, which differ in how they are launched.

The functions are those of `torch_scans`, without its chunks: the recurrences run row by row, exactly.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor


def _empty(like: Tensor, number: int) -> list[Tensor]:
    return [torch.empty(like.shape, dtype=like.dtype, device=like.device) for _ in range(number)]


def _per_sequence(like: Tensor) -> Tensor:
    """(B, C) zeros for the gradient of eta, in float64, since it is summed over thousands of rows."""
    return torch.zeros(like.shape[0], like.shape[2], dtype=torch.float64, device=like.device)


class Loops:
    """`kernels` is a module with one kernel for each method below and `launch(kernel, *tensors)`."""

    def __init__(self, kernels: ModuleType) -> None:
        self._kernels = kernels
        self._launch = kernels.launch

    def one_sided(self, potential: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
        g = _empty(potential, 2)
        self._launch(self._kernels.one_sided, potential, eta, *g)
        return tuple(g)

    def one_sided_adjoint(self, eta: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        (potential_grad,), eta_grad = _empty(saved[0], 1), _per_sequence(saved[0])
        self._launch(self._kernels.one_sided_adjoint, *saved, potential_grad, eta_grad)
        return potential_grad, eta_grad.sum(0).to(eta.dtype)

    def two_sided(self, potential: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
        parts = _empty(potential, 6)
        self._launch(self._kernels.two_sided, potential, eta, *parts)
        return tuple(parts)

    def two_sided_adjoint(self, eta: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        (potential_grad, *scratch), eta_grad = _empty(saved[0], 3), _per_sequence(saved[0])
        self._launch(self._kernels.two_sided_adjoint, *saved, potential_grad, eta_grad, *scratch)
        return potential_grad, eta_grad.sum(0).to(eta.dtype)

    def resolvent(self, potential: Tensor, eta: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        parts = _empty(potential, 4)
        self._launch(self._kernels.resolvent, potential, eta, u, *parts)
        return tuple(parts)

    def resolvent_adjoint(self, eta: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        (potential_grad, u_grad), eta_grad = _empty(saved[0], 2), _per_sequence(saved[0])
        self._launch(self._kernels.resolvent_adjoint, *saved, potential_grad, eta_grad, u_grad)
        return potential_grad, eta_grad.sum(0).to(eta.dtype), u_grad

    def convolution(self, x: Tensor, weight: Tensor) -> Tensor:
        (y,) = _empty(x, 1)
        self._launch(self._kernels.convolution, x, weight, y)
        return y

    def convolution_adjoint(self, x: Tensor, weight: Tensor, out: Tensor) -> tuple[Tensor, ...]:
        (x_grad,) = _empty(x, 1)
        blocks = -(-x.shape[1] // self._kernels.ROWS)
        weight_grad = torch.zeros(x.shape[0] * blocks, *weight.shape, dtype=x.dtype)
        self._launch(self._kernels.convolution_adjoint, x, weight, out, x_grad, weight_grad)
        return x_grad, weight_grad.sum(0)
