# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The short causal convolution as triton kernels: a program is one sequence, ROWS rows, a block of channels.

It goes row by row and holds all SIZE weights of a channel; what rows share comes from the cache. TAPS is the
power of two from SIZE on. The gradient of the weights is one partial sum per program, (B, chunks, K, D).
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_steps import chunk


@triton.jit
def convolution(
    x, weight, y, length, channels,
    SIZE: tl.constexpr, TAPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, _, first, stop, c, live = chunk(length, channels, ROWS, BLOCK)
    n = tl.arange(0, TAPS)[:, None]
    back = SIZE - 1 - n
    taps = (n < SIZE) & live[None, :]
    weights = tl.load(weight + n * channels + c[None, :], taps, 0.0)
    at = (b * length + first) * channels + c
    for i in range(first, stop):
        behind = tl.load(x + at[None, :] - back * channels, taps & (i >= back), 0.0)
        tl.store(y + at, tl.sum(behind * weights, 0), live)
        at += channels


@triton.jit
def convolution_adjoint(
    x, weight, out, x_grad, weight_grad, length, channels,
    SIZE: tl.constexpr, TAPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, k, first, stop, c, live = chunk(length, channels, ROWS, BLOCK)
    n = tl.arange(0, TAPS)[:, None]
    back = SIZE - 1 - n
    taps = (n < SIZE) & live[None, :]
    here = n * channels + c[None, :]
    weights = tl.load(weight + here, taps, 0.0)
    at = (b * length + first) * channels + c
    total = weights * 0
    for i in range(first, stop):
        ahead = tl.load(out + at[None, :] + back * channels, taps & (i + back < length), 0.0)
        behind = tl.load(x + at[None, :] - back * channels, taps & (i >= back), 0.0)
        total += tl.load(out + at, live, 0.0)[None, :] * behind
        tl.store(x_grad + at, tl.sum(ahead * weights, 0), live)
        at += channels
    tl.store(weight_grad + (b * tl.cdiv(length, ROWS) + k) * SIZE * channels + here, total, taps)
