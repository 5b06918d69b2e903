"""The short causal convolution, channel by channel; rows before the first are 0.

    y_i = sum over k of weight_k x_{i-K+1+k}

Adjoint: dx_i = sum over k of weight_k out_{i+K-1-k},   dweight_k = sum over i of out_i x_{i-K+1+k}.

Written with torch operators it would pass over memory some twenty times, forward and backward: more than the
scan that follows it. The kernels do it in one pass each.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .backend import scans_for
from .operator import operator


@operator("resnetbk::convolution")
def _forward(x: Tensor, weight: Tensor) -> Tensor:
    y: Tensor = scans_for(x.device.type).convolution(x, weight)
    return y


@_forward.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@operator("resnetbk::convolution_adjoint")
def _adjoint(x: Tensor, weight: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    x_grad, weight_grad = scans_for(x.device.type).convolution_adjoint(x, weight, out)
    return x_grad, weight_grad


@_adjoint.register_fake
def _(x: Tensor, weight: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, out: Tensor) -> tuple[Tensor, Tensor]:
    x_grad, weight_grad = _adjoint(*ctx.saved_tensors, out)
    return x_grad, weight_grad


_forward.register_autograd(_backward, setup_context=_keep)


@register_flop_formula(torch.ops.resnetbk.convolution)
def _forward_flops(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * weight[0] * math.prod(x)


@register_flop_formula(torch.ops.resnetbk.convolution_adjoint)
def _adjoint_flops(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    return 4 * weight[0] * math.prod(x)


def causal_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """(B, N, D), (K, D) with the newest row's weights last -> (B, N, D). Both float32 or both float64, on one
    device (ValueError otherwise). Differentiable once, in both. Row i sees rows <= i, to the bit."""
    if x.ndim != 3 or weight.ndim != 2 or x.shape[2] != weight.shape[1]:
        raise ValueError(
            f"x must be (B, N, D) and weight (K, D), not {tuple(x.shape)}, {tuple(weight.shape)}"
        )
    if x.dtype not in (torch.float32, torch.float64) or x.dtype != weight.dtype or x.device != weight.device:
        raise ValueError(f"x and weight must be float32 or float64 alike, not {x.dtype} and {weight.dtype}")
    y: Tensor = _forward(x, weight)
    return y
