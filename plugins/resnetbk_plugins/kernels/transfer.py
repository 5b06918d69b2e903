"""Chains of 2x2 transfer matrices in SU(2), as unit quaternions, with a gate: values that rotate and fade.

    y_i = f_i y_{i-1} q_i + x_i,   y_{-1} = 0

y, q, x are quaternions a + b i + c j + d k; the unit ones are SU(2), a + b i + c j + d k being the matrix
[[a + b i, c + d i], [-c + d i, a - b i]]. A row maps y to y Q + x with Q = f q, so rows compose to a
quaternion and a summand: (Q, x) then (R, z) is (Q R, x R + z), which is associative. Where f = 1 and |q| = 1
a row is an isometry and nothing is forgotten; elsewhere |y_i| <= max |x| / (1 - max f). Nothing is divided.

Adjoint, with out_i = dL/dy_i, from the last row up (the transpose of y -> y Q is k -> k conj(Q)):

    k_i = out_i + f_{i+1} k_{i+1} conj(q_{i+1}),   dL/dx_i = k_i,
    h_i = conj(y_{i-1}) k_i,   dL/dq_i = f_i h_i,   dL/df_i = q_i . h_i.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .backend import scans_for
from .operator import operator
from .torch_scans import quaternion_product


@operator("resnetbk::transfer")
def _forward(f: Tensor, q: Tensor, x: Tensor) -> Tensor:
    y: Tensor = scans_for(q.device.type).transfer(f, q, x)
    return y


@_forward.register_fake
def _(f: Tensor, q: Tensor, x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@operator("resnetbk::transfer_adjoint")
def _adjoint(f: Tensor, q: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    f_grad, q_grad, x_grad = scans_for(q.device.type).transfer_adjoint(f, q, y, out)
    return f_grad, q_grad, x_grad


@_adjoint.register_fake
def _(f: Tensor, q: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return f.new_empty(f.shape), q.new_empty(q.shape), y.new_empty(y.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2], output)


def _backward(ctx: Any, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    f_grad, q_grad, x_grad = _adjoint(*ctx.saved_tensors, out.contiguous())
    return f_grad, q_grad, x_grad


_forward.register_autograd(_backward, setup_context=_keep)


# Real FLOPs per row of a chain. A product of quaternions is 16 products and 12 sums.
# Forward: f q 4, the product 28, + x 4. Adjoint: f q 4, two products 56, + out 4, f h 4, q . h 7.
@register_flop_formula(torch.ops.resnetbk.transfer)
def _forward_flops(f: torch.Size, *_: Any, **__: Any) -> int:
    return 36 * math.prod(f)


@register_flop_formula(torch.ops.resnetbk.transfer_adjoint)
def _adjoint_flops(f: torch.Size, *_: Any, **__: Any) -> int:
    return 75 * math.prod(f)


def transfer(f: Tensor, q: Tensor, x: Tensor) -> Tensor:
    """y (B, N, 4, C) for gates f (B, N, C), quaternions q and summands x (B, N, 4, C).

    All float32 or all float64, on one device (ValueError otherwise). Differentiable once, in all three; q
    need not be normalised. Row i sees rows <= i of its own batch row only, to the bit.
    """
    shape = tuple(q.shape)
    if len(shape) != 4 or shape[2] != 4 or x.shape != shape or f.shape != (*shape[:2], shape[3]):
        shapes = f"{shape}, {tuple(x.shape)} and {tuple(f.shape)}"
        raise ValueError(f"q and x must be (B, N, 4, C) and f (B, N, C), not {shapes}")
    if q.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"q must be float32 or float64, not {q.dtype}: cast it first")
    for name, other in {"f": f, "x": x}.items():
        if other.dtype != q.dtype or other.device != q.device:
            wanted, actual = f"{q.dtype} on {q.device}", f"{other.dtype} on {other.device}"
            raise ValueError(f"{name} must be {wanted} like q, not {actual}")
    y: Tensor = _forward(f, q, x)
    return y


def transfer_step(f: Tensor, q: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The next row: f (B, C), q and x (B, 4, C), and the row before y (B, 4, C), zeros at the start."""
    return quaternion_product(y, f[:, None] * q) + x
