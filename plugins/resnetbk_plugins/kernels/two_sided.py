"""The diagonal of the resolvent, G_ii = [(H - z)^-1]_ii: every row sees every other; O(N).

H is tridiagonal with hopping 1, a_i = potential_i - i eta. With left and right ratios

    l_i = 1 / (a_i - l_{i-1}),   r_i = 1 / (a_i - r_{i+1}),   G_ii = 1 / (a_i - l_{i-1} - r_{i+1}),

|G_ii| <= 1 / eta. Adjoint: dG_ii / da_j = -G_ij G_ji = -G_ij^2 for all j. Since G_ij = -l_i G_{i+1,j} for i
< j and -r_i G_{i-1,j} for i > j, the squares are products of squared ratios: G_jj^2 l_i^2 ... l_{j-1}^2 and
G_jj^2 r_{j+1}^2 ... r_i^2. With out_i = dL/dRe G_ii + i dL/dIm G_ii, all pairs (i, j) sum up in two scans:

    A_j = conj(l_j^2) (out_j + A_{j-1}),   B_j = conj(r_j^2) (out_j + B_{j+1}),
    k_j = conj(G_jj^2) (out_j + A_{j-1} + B_{j+1}),   dL/dpotential_j = -Re k_j,   dL/deta = sum of Im k_j.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .backend import check, scans_for
from .operator import operator

Six = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


# The ratios are returned with the diagonal for the adjoint only.
@operator("resnetbk::two_sided")
def _forward(potential: Tensor, eta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    parts: Six = scans_for(potential.device.type).two_sided(potential, eta)
    return parts


@_forward.register_fake
def _(potential: Tensor, eta: Tensor) -> Six:
    a, b, c, d, e, f = (potential.new_empty(potential.shape) for _ in range(6))
    return a, b, c, d, e, f


@operator("resnetbk::two_sided_adjoint")
def _adjoint(
    eta: Tensor,
    diagonal_real: Tensor,
    diagonal_imag: Tensor,
    left_real: Tensor,
    left_imag: Tensor,
    right_real: Tensor,
    right_imag: Tensor,
    out_real: Tensor,
    out_imag: Tensor,
) -> tuple[Tensor, Tensor]:
    diagonal, left, right = (diagonal_real, diagonal_imag), (left_real, left_imag), (right_real, right_imag)
    scans = scans_for(out_real.device.type)
    potential_grad, eta_grad = scans.two_sided_adjoint(eta, *diagonal, *left, *right, out_real, out_imag)
    return potential_grad, eta_grad


@_adjoint.register_fake
def _(eta: Tensor, diagonal_real: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
    return diagonal_real.new_empty(diagonal_real.shape), eta.new_empty(eta.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Six) -> None:
    ctx.save_for_backward(inputs[1], *output)
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)  # no zeros for the ratios


def _backward(ctx: Any, out_real: Tensor | None, out_imag: Tensor | None, *_: None) -> tuple[Tensor, Tensor]:
    saved = ctx.saved_tensors
    out_real, out_imag = (torch.zeros_like(saved[1]) if x is None else x for x in (out_real, out_imag))
    # slices of one tensor, most often: compiled code then writes them where they are wanted
    potential_grad, eta_grad = _adjoint(*saved, out_real.contiguous(), out_imag.contiguous())
    return potential_grad, eta_grad


_forward.register_autograd(_backward, setup_context=_keep)


# Real FLOPs per row of a chain. Forward: three reciprocals of 8 (see one_sided).
# Adjoint: two scans of 13, the outer sum 2, conj(G^2) 5, product 6, sum for eta 1.
@register_flop_formula(torch.ops.resnetbk.two_sided)
def _forward_flops(potential: torch.Size, *_: Any, **__: Any) -> int:
    return 24 * math.prod(potential)


@register_flop_formula(torch.ops.resnetbk.two_sided_adjoint)
def _adjoint_flops(eta: torch.Size, diagonal_real: torch.Size, *_: Any, **__: Any) -> int:
    return 40 * math.prod(diagonal_real)


def two_sided(potential: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
    """(Re G_ii, Im G_ii), each (B, N, C), for potential (B, N, C) and eta (C,), eta > 0.

    Both float32 or both float64, on one device (ValueError otherwise). Differentiable once, in both.
    Every row sees the whole sequence (not causal), and nothing of other batch rows, to the bit.
    """
    check(potential, eta)
    diagonal_real, diagonal_imag, *_ = _forward(potential, eta)
    return diagonal_real, diagonal_imag
