"""The resolvent applied to the past, its last component: y_i = [(H_{0..i} - z)^-1 u_{0..i}]_i; causal, O(N).

H is tridiagonal with diagonal a_i + z, a_i = potential_i - i eta, and hopping -1 (with +1, u alternates in
sign):

    g_i = 1 / (a_i - g_{i-1}),   y_i = g_i (u_i + y_{i-1}),   u real:

a value path whose gates are read from the chain. g is that of `one_sided` and is returned too; one row of
both is the state.

Adjoint, from the last row up, with out the gradient of y and o that of g (real part + i imaginary part):

    w_i = conj(g_i) (out_i + w_{i+1}),   k_i = conj(y_i) w_i + conj(g_i^2) (o_i + k_{i+1}),
    dL/du_i = Re w_i,   dL/dpotential_i = -Re k_i,   dL/deta = sum of Im k_i,

since dy_i / dg_i = u_i + y_{i-1} = y_i / g_i.
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

Four = tuple[Tensor, Tensor, Tensor, Tensor]


@operator("resnetbk::resolvent")
def _forward(potential: Tensor, eta: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parts: Four = scans_for(potential.device.type).resolvent(potential, eta, u)
    return parts


@_forward.register_fake
def _(potential: Tensor, eta: Tensor, u: Tensor) -> Four:
    a, b, c, d = (potential.new_empty(potential.shape) for _ in range(4))
    return a, b, c, d


@operator("resnetbk::resolvent_adjoint")
def _adjoint(
    eta: Tensor,
    y_real: Tensor,
    y_imag: Tensor,
    g_real: Tensor,
    g_imag: Tensor,
    y_out_real: Tensor,
    y_out_imag: Tensor,
    g_out_real: Tensor,
    g_out_imag: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    y, g, out = (y_real, y_imag), (g_real, g_imag), (y_out_real, y_out_imag, g_out_real, g_out_imag)
    potential_grad, eta_grad, u_grad = scans_for(y_real.device.type).resolvent_adjoint(eta, *y, *g, *out)
    return potential_grad, eta_grad, u_grad


@_adjoint.register_fake
def _(eta: Tensor, y_real: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return y_real.new_empty(y_real.shape), eta.new_empty(eta.shape), y_real.new_empty(y_real.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Four) -> None:
    ctx.save_for_backward(inputs[1], *output)


def _backward(ctx: Any, *out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # slices of one tensor, most often: compiled code then writes them where they are wanted
    out = tuple(gradient.contiguous() for gradient in out)
    potential_grad, eta_grad, u_grad = _adjoint(*ctx.saved_tensors, *out)
    return potential_grad, eta_grad, u_grad


_forward.register_autograd(_backward, setup_context=_keep)


# Real FLOPs per row of a chain. Forward: g 8 (see one_sided), u + y 1, product 6.
# Adjoint: w 8, conj(y) w 6, conj(g^2) 5, o + k 2, product 6, sum 2, sum for eta 1.
@register_flop_formula(torch.ops.resnetbk.resolvent)
def _forward_flops(potential: torch.Size, *_: Any, **__: Any) -> int:
    return 15 * math.prod(potential)


@register_flop_formula(torch.ops.resnetbk.resolvent_adjoint)
def _adjoint_flops(eta: torch.Size, y_real: torch.Size, *_: Any, **__: Any) -> int:
    return 30 * math.prod(y_real)


def resolvent(potential: Tensor, eta: Tensor, u: Tensor) -> Four:
    """(Re y, Im y, Re g, Im g), each (B, N, C), for potential and u (B, N, C) and eta (C,), eta > 0.

    All float32 or all float64, on one device (ValueError otherwise). Differentiable once, in all arguments.
    Row i sees rows <= i of its own batch row only, to the bit.
    """
    check(potential, eta, u=u)
    y_real, y_imag, g_real, g_imag = _forward(potential, eta, u)
    return y_real, y_imag, g_real, g_imag


def resolvent_step(
    potential: Tensor, eta: Tensor, u: Tensor, y_real: Tensor, y_imag: Tensor, g_real: Tensor, g_imag: Tensor
) -> Four:
    """The next row: potential and u (B, C), eta (C,), the row before (B, C) each, zeros at the start."""
    g_real, g_imag = ratio_step(potential, eta, g_real, g_imag)
    inflow = u + y_real
    return g_real * inflow - g_imag * y_imag, g_real * y_imag + g_imag * inflow, g_real, g_imag
