"""The diagonal of the one-sided resolvent: g_i = [(H_{0..i} - z)^-1]_ii, causal, O(N), one row of state.

H is tridiagonal with hopping 1; a_i = potential_i - i eta is the diagonal of H - z (the energy is in the
potential).

    g_i = 1 / (a_i - g_{i-1}),   g_{-1} = 0,   0 < Im g_i,   |g_i| <= 1 / eta

Adjoint: dg_i = -g_i^2 (da_i - dg_{i-1}). With out_i = dL/dRe g_i + i dL/dIm g_i, from the last row up,

    k_i = conj(g_i^2) (out_i + k_{i+1}),   dL/dpotential_i = -Re k_i,   dL/deta = sum of Im k_i.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .backend import check, scans_for
from .operator import operator
from .torch_scans import ratio_step


@operator("resnetbk::one_sided")
def _forward(potential: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
    g_real, g_imag = scans_for(potential.device.type).one_sided(potential, eta)
    return g_real, g_imag


@_forward.register_fake
def _(potential: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
    return potential.new_empty(potential.shape), potential.new_empty(potential.shape)


@operator("resnetbk::one_sided_adjoint")
def _adjoint(
    eta: Tensor, g_real: Tensor, g_imag: Tensor, out_real: Tensor, out_imag: Tensor
) -> tuple[Tensor, Tensor]:
    scans = scans_for(g_real.device.type)
    potential_grad, eta_grad = scans.one_sided_adjoint(eta, g_real, g_imag, out_real, out_imag)
    return potential_grad, eta_grad


@_adjoint.register_fake
def _(
    eta: Tensor, g_real: Tensor, g_imag: Tensor, out_real: Tensor, out_imag: Tensor
) -> tuple[Tensor, Tensor]:
    return g_real.new_empty(g_real.shape), eta.new_empty(eta.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[1], *output)


def _backward(ctx: Any, out_real: Tensor, out_imag: Tensor) -> tuple[Tensor, Tensor]:
    # slices of one tensor, most often: compiled code then writes them where they are wanted
    out_real, out_imag = out_real.contiguous(), out_imag.contiguous()
    potential_grad, eta_grad = _adjoint(*ctx.saved_tensors, out_real, out_imag)
    return potential_grad, eta_grad


_forward.register_autograd(_backward, setup_context=_keep)


# Real FLOPs per row of a chain. Forward: a - g 2, |.|^2 3, reciprocal 1, products 2.
# Adjoint: conj(g^2) 5, out + k 2, their product 6, sum for eta 1.
@register_flop_formula(torch.ops.resnetbk.one_sided)
def _forward_flops(potential: torch.Size, *_: Any, **__: Any) -> int:
    return 8 * math.prod(potential)


@register_flop_formula(torch.ops.resnetbk.one_sided_adjoint)
def _adjoint_flops(eta: torch.Size, g_real: torch.Size, *_: Any, **__: Any) -> int:
    return 14 * math.prod(g_real)


def one_sided(potential: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
    """(Re g, Im g), each (B, N, C), for potential (B, N, C) and eta (C,), eta > 0.

    Both float32 or both float64, on one device (ValueError otherwise). Differentiable once, in both.
    Row i sees rows <= i of its own batch row only, to the bit.
    """
    check(potential, eta)
    g_real, g_imag = _forward(potential, eta)
    return g_real, g_imag


def one_sided_step(potential: Tensor, eta: Tensor, g_real: Tensor, g_imag: Tensor) -> tuple[Tensor, Tensor]:
    """The next row: potential (B, C), eta (C,), the row before (B, C) each, zeros at the start."""
    return ratio_step(potential, eta, g_real, g_imag)
