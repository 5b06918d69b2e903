# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The short causal convolution as triton kernels: a program is one sequence, ROWS rows, a block of channels.

Sums run from the oldest row on, as in the other backends. The gradient of the weights is one partial sum per
program, (B, chunks, K, D).
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_steps import chunk


@triton.jit
def convolution(x, weight, y, length, channels, SIZE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    b, _, first, _, c, live = chunk(length, channels, ROWS, BLOCK)
    i = first + tl.arange(0, ROWS)[:, None]
    at = (b * length + i) * channels + c[None, :]
    inside = (i < length) & live[None, :]
    total = tl.zeros([ROWS, BLOCK], y.dtype.element_ty)
    for n in tl.static_range(SIZE):
        back = SIZE - 1 - n
        x_n = tl.load(x + at - back * channels, inside & (i >= back), 0.0)
        total += x_n * tl.load(weight + n * channels + c, live, 0.0)[None, :]
    tl.store(y + at, total, inside)


@triton.jit
def convolution_adjoint(
    x, weight, out, x_grad, weight_grad, length, channels,
    SIZE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, k, first, _, c, live = chunk(length, channels, ROWS, BLOCK)
    i = first + tl.arange(0, ROWS)[:, None]
    at = (b * length + i) * channels + c[None, :]
    inside = (i < length) & live[None, :]
    own = tl.load(out + at, inside, 0.0)
    total = tl.zeros([ROWS, BLOCK], own.dtype)
    partial = weight_grad + (b * tl.cdiv(length, ROWS) + k) * SIZE * channels + c
    for n in tl.static_range(SIZE):
        back = SIZE - 1 - n
        out_n = tl.load(out + at + back * channels, inside & (i + back < length), 0.0)
        total += out_n * tl.load(weight + n * channels + c, live, 0.0)[None, :]
        x_n = tl.load(x + at - back * channels, inside & (i >= back), 0.0)
        tl.store(partial + n * channels, tl.sum(own * x_n, 0), live)
    tl.store(x_grad + at, total, inside)
