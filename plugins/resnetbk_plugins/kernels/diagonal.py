"""The real linear recurrence with a factor for each row and channel: causal, O(N), one row of state.

    h_i = f_i h_{i-1} + x_i,   h_{-1} = 0,   0 <= f_i <= 1

Adjoint, from the last row up, with out the gradient of h:

    k_i = out_i + f_{i+1} k_{i+1},   dL/dx_i = k_i,   dL/df_i = k_i h_{i-1}.

Nothing bounds how long f remembers, so what is parallel over rows are products, not run-ups: a chunk of rows
maps the state h before it to F h + S, F the product of its factors and S its last state from h = 0. The
states after the chunks are such a recurrence again, of (F, S). No F exceeds 1, so |S| is at most |h| before
and after together: neither overflows.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .backend import scans_for
from .operator import operator


@operator("resnetbk::diagonal")
def _forward(f: Tensor, x: Tensor) -> Tensor:
    h: Tensor = scans_for(x.device.type).diagonal(f, x)
    return h


@_forward.register_fake
def _(f: Tensor, x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@operator("resnetbk::diagonal_adjoint")
def _adjoint(f: Tensor, h: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    f_grad, x_grad = scans_for(h.device.type).diagonal_adjoint(f, h, out)
    return f_grad, x_grad


@_adjoint.register_fake
def _(f: Tensor, h: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    return h.new_empty(h.shape), h.new_empty(h.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)


def _backward(ctx: Any, out: Tensor) -> tuple[Tensor, Tensor]:
    f_grad, x_grad = _adjoint(*ctx.saved_tensors, out.contiguous())
    return f_grad, x_grad


_forward.register_autograd(_backward, setup_context=_keep)


# FLOPs per row of a channel: f h + x 2; adjoint: out + f k 2, k h 1
@register_flop_formula(torch.ops.resnetbk.diagonal)
def _forward_flops(f: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * math.prod(f)


@register_flop_formula(torch.ops.resnetbk.diagonal_adjoint)
def _adjoint_flops(f: torch.Size, *_: Any, **__: Any) -> int:
    return 3 * math.prod(f)


def diagonal(f: Tensor, x: Tensor) -> Tensor:
    """h (B, N, C) for factors f in [0, 1] and inflows x, (B, N, C) each.

    Both float32 or both float64, on one device (ValueError otherwise). Differentiable once, in both.
    Row i sees rows <= i of its own batch row only, to the bit. What is not finite stays so to the last row.
    """
    if f.ndim != 3 or f.shape != x.shape:
        raise ValueError(f"f and x must both be (B, N, C), not {tuple(f.shape)} and {tuple(x.shape)}")
    if f.dtype not in (torch.float32, torch.float64) or f.dtype != x.dtype or f.device != x.device:
        actual = f"{f.dtype} on {f.device} and {x.dtype} on {x.device}"
        raise ValueError(f"f and x must be float32 or float64 alike, on one device, not {actual}")
    h: Tensor = _forward(f, x)
    return h
