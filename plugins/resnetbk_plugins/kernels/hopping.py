"""One-sided scans whose hopping b_i, between rows i - 1 and i, is read from the row: real, in [-1, 1].

H is tridiagonal and a_i = potential_i - i eta. The scan behind both functions has t_i in [0, 1], the product
of the two elements of H beside the diagonal, in place of 1, and forgets as fast (see `forgetting`):

    k_i = 1 / (a_i - t_i k_{i-1}),   k_{-1} = 0,   0 < Im k_i,   |k_i| <= 1 / eta

Adjoint: dk_i = k_i^2 (t_i dk_{i-1} + k_{i-1} dt_i - da_i), complex numbers being quaternions, is a row of
`transfer` with gate t_i and rotation k_i^2. So its adjoint gives K_i = dL/dk_i, later rows included, and

    dL/dt_i = Re conj(k_{i-1} k_i^2) K_i,   dL/dpotential_i - i dL/deta_i = -conj(k_i^2) K_i.

- `signed_resolvent`: H is symmetric, with -b_i beside the diagonal. The ratios have t = b^2, and the values
  see the sign: y_i = g_i (u_i + b_i y_{i-1}).
- `signed_one_sided`: the product of the two elements is b_i itself. Where it is negative a row maps the upper
  half plane to the lower one, where eta would bring the ratio closer to a pole. So eta has the ratio's sign
  s_i = sign(b_0 ... b_i). Row i times s_i, it is the chain k of potentials s_i potential_i with t = |b|, and
  g_i = s_i k_i. The state is Re g_i + i |Im g_i|, which is continuous where b_i changes sign.
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
from .transfer import transfer

Four = tuple[Tensor, Tensor, Tensor, Tensor]


@operator("resnetbk::hopping")
def _forward(potential: Tensor, eta: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    k_real, k_imag = scans_for(potential.device.type).hopping(potential, eta, t)
    return k_real, k_imag


@_forward.register_fake
def _(potential: Tensor, eta: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return potential.new_empty(potential.shape), potential.new_empty(potential.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[2], *output)


def _backward(ctx: Any, out_real: Tensor, out_imag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    t, real, imag = ctx.saved_tensors
    square = real * real - imag * imag, 2 * real * imag
    k, out = _quaternions(real, imag), _quaternions(out_real, out_imag)
    t_grad, _, total = torch.ops.resnetbk.transfer_adjoint(t, _quaternions(*square), k, out)
    potential_grad = -(square[0] * total[:, :, 0] + square[1] * total[:, :, 1])
    eta_grad = square[0] * total[:, :, 1] - square[1] * total[:, :, 0]
    return potential_grad, eta_grad.sum((0, 1), dtype=torch.float64).to(t.dtype), t_grad


_forward.register_autograd(_backward, setup_context=_keep)


# Real FLOPs per row of a chain: 8 (see one_sided), t k 2. Those of the adjoint are counted by `transfer`.
@register_flop_formula(torch.ops.resnetbk.hopping)
def _forward_flops(potential: torch.Size, *_: Any, **__: Any) -> int:
    return 10 * math.prod(potential)


def _quaternions(real: Tensor, imag: Tensor) -> Tensor:
    """(B, N, C) each -> (B, N, 4, C)."""
    zero = torch.zeros_like(real)
    return torch.stack((real, imag, zero, zero), 2)


def signed_one_sided(potential: Tensor, eta: Tensor, hopping: Tensor) -> tuple[Tensor, Tensor]:
    """(Re g, |Im g|), each (B, N, C), for potential and hopping (B, N, C) and eta (C,), eta > 0.

    Where hopping is 1 it is `one_sided`. All float32 or all float64, on one device (ValueError otherwise).
    Differentiable once, in all three. Row i sees rows <= i of its own batch row only, to the bit.
    """
    check(potential, eta, hopping=hopping)
    sign = torch.where(hopping < 0, -1.0, 1.0).to(potential.dtype).cumprod(1)
    k_real, k_imag = _forward(sign * potential, eta, hopping.abs())
    return sign * k_real, k_imag


def signed_one_sided_step(
    potential: Tensor, eta: Tensor, hopping: Tensor, g_real: Tensor, g_imag: Tensor
) -> tuple[Tensor, Tensor]:
    """The next row: potential and hopping (B, C), eta (C,), the row before (B, C), zeros at the start."""
    return ratio_step(potential, eta, hopping * g_real, hopping.abs() * g_imag)


def signed_resolvent(potential: Tensor, eta: Tensor, hopping: Tensor, u: Tensor) -> Four:
    """(Re y, Im y, Re g, Im g), each (B, N, C), for potential, hopping and u (B, N, C) and eta (C,), eta > 0.

    Where hopping is 1 it is `resolvent`. All float32 or all float64, on one device (ValueError otherwise).
    Differentiable once, in all arguments. Row i sees rows <= i of its own batch row only, to the bit.
    """
    check(potential, eta, hopping=hopping, u=u)
    g_real, g_imag = _forward(potential, eta, hopping * hopping)
    y = transfer(hopping, _quaternions(g_real, g_imag), _quaternions(g_real * u, g_imag * u))
    return y[:, :, 0], y[:, :, 1], g_real, g_imag


def signed_resolvent_step(
    potential: Tensor,
    eta: Tensor,
    hopping: Tensor,
    u: Tensor,
    y_real: Tensor,
    y_imag: Tensor,
    g_real: Tensor,
    g_imag: Tensor,
) -> Four:
    """The next row: potential, hopping, u (B, C), eta (C,), the row before (B, C), zeros at the start."""
    t = hopping * hopping
    g_real, g_imag = ratio_step(potential, eta, t * g_real, t * g_imag)
    inflow, y_imag = u + hopping * y_real, hopping * y_imag
    return g_real * inflow - g_imag * y_imag, g_real * y_imag + g_imag * inflow, g_real, g_imag
