# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The scans as triton kernels (CUDA) over (B, N, C) tensors; `loops` calls them; formulas are
in the operators' files.

One program is one sequence and one block of chains, and processes the rows one by one with its state in
registers: every load and store is contiguous.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 32  # chains per program: one warp, one chain per lane


@triton.jit
def _ratio(v, e, re, im):
    x, y = v - re, e + im
    inverse = 1.0 / (x * x + y * y)
    return x * inverse, y * inverse


@triton.jit
def _times_square(re, im, x, y):
    """conj((re + i im)^2) (x + i y)."""
    p, q = re * re - im * im, -2.0 * re * im
    return p * x - q * y, p * y + q * x


@triton.jit
def one_sided(v, eta, g_re, g_im, length, chains, BLOCK: tl.constexpr):
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = c < chains
    at = tl.program_id(0).to(tl.int64) * length * chains + c
    e = tl.load(eta + c, live, 1.0)
    re, im = e * 0, e * 0
    for _ in range(length):
        re, im = _ratio(tl.load(v + at, live, 0.0), e, re, im)
        tl.store(g_re + at, re, live)
        tl.store(g_im + at, im, live)
        at += chains


@triton.jit
def one_sided_adjoint(g_re, g_im, out_re, out_im, v_grad, eta_grad, length, chains, BLOCK: tl.constexpr):
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = c < chains
    b = tl.program_id(0).to(tl.int64)
    at = (b * length + length - 1) * chains + c
    re = tl.load(g_re + at, live, 0.0) * 0
    im, total = re, re.to(tl.float64)
    for _ in range(length):
        x, y = tl.load(out_re + at, live, 0.0) + re, tl.load(out_im + at, live, 0.0) + im
        re, im = _times_square(tl.load(g_re + at, live, 0.0), tl.load(g_im + at, live, 0.0), x, y)
        tl.store(v_grad + at, -re, live)
        total += im.to(tl.float64)
        at -= chains
    tl.store(eta_grad + b * chains + c, total, live)


@triton.jit
def two_sided(v, eta, d_re, d_im, l_re, l_im, r_re, r_im, length, chains, BLOCK: tl.constexpr):
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = c < chains
    start = tl.program_id(0).to(tl.int64) * length * chains + c
    e = tl.load(eta + c, live, 1.0)
    re, im = e * 0, e * 0
    at = start
    for _ in range(length):
        re, im = _ratio(tl.load(v + at, live, 0.0), e, re, im)
        tl.store(l_re + at, re, live)
        tl.store(l_im + at, im, live)
        at += chains
    # backwards, a program reads only what its own lanes wrote
    re, im = e * 0, e * 0
    for _ in range(length):
        at -= chains
        v_i = tl.load(v + at, live, 0.0)
        before = live & (at >= start + chains)
        from_re, from_im = tl.load(l_re + at - chains, before, 0.0), tl.load(l_im + at - chains, before, 0.0)
        both_re, both_im = _ratio(v_i, e, re + from_re, im + from_im)
        tl.store(d_re + at, both_re, live)
        tl.store(d_im + at, both_im, live)
        re, im = _ratio(v_i, e, re, im)
        tl.store(r_re + at, re, live)
        tl.store(r_im + at, im, live)


@triton.jit
def two_sided_adjoint(
    d_re, d_im, l_re, l_im, r_re, r_im, out_re, out_im, v_grad, eta_grad, from_re, from_im,
    length, chains, BLOCK: tl.constexpr,
):  # fmt: skip
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = c < chains
    b = tl.program_id(0).to(tl.int64)
    at = b * length * chains + c
    zero = tl.load(d_re + at, live, 0.0) * 0
    re, im, total = zero, zero, zero.to(tl.float64)
    for _ in range(length):  # downwards: contributions of row i and the rows before it
        x, y = tl.load(out_re + at, live, 0.0) + re, tl.load(out_im + at, live, 0.0) + im
        tl.store(from_re + at, x, live)
        tl.store(from_im + at, y, live)
        re, im = _times_square(tl.load(l_re + at, live, 0.0), tl.load(l_im + at, live, 0.0), x, y)
        at += chains
    re, im = zero, zero
    for _ in range(length):
        at -= chains
        x, y = tl.load(from_re + at, live, 0.0) + re, tl.load(from_im + at, live, 0.0) + im
        k_re, k_im = _times_square(tl.load(d_re + at, live, 0.0), tl.load(d_im + at, live, 0.0), x, y)
        tl.store(v_grad + at, -k_re, live)
        total += k_im.to(tl.float64)
        x, y = tl.load(out_re + at, live, 0.0) + re, tl.load(out_im + at, live, 0.0) + im
        re, im = _times_square(tl.load(r_re + at, live, 0.0), tl.load(r_im + at, live, 0.0), x, y)
    tl.store(eta_grad + b * chains + c, total, live)


@triton.jit
def resolvent(v, eta, u, y_re, y_im, g_re, g_im, length, chains, BLOCK: tl.constexpr):
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = c < chains
    at = tl.program_id(0).to(tl.int64) * length * chains + c
    e = tl.load(eta + c, live, 1.0)
    re, im, real, imag = e * 0, e * 0, e * 0, e * 0
    for _ in range(length):
        re, im = _ratio(tl.load(v + at, live, 0.0), e, re, im)
        x = tl.load(u + at, live, 0.0) + real
        real, imag = re * x - im * imag, re * imag + im * x
        tl.store(y_re + at, real, live)
        tl.store(y_im + at, imag, live)
        tl.store(g_re + at, re, live)
        tl.store(g_im + at, im, live)
        at += chains


@triton.jit
def resolvent_adjoint(
    y_re, y_im, g_re, g_im, yo_re, yo_im, go_re, go_im, v_grad, eta_grad, u_grad,
    length, chains, BLOCK: tl.constexpr,
):  # fmt: skip
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = c < chains
    b = tl.program_id(0).to(tl.int64)
    at = (b * length + length - 1) * chains + c
    zero = tl.load(g_re + at, live, 0.0) * 0
    w_re, w_im, k_re, k_im, total = zero, zero, zero, zero, zero.to(tl.float64)
    for _ in range(length):
        re, im = tl.load(g_re + at, live, 0.0), tl.load(g_im + at, live, 0.0)
        x, y = tl.load(go_re + at, live, 0.0) + k_re, tl.load(go_im + at, live, 0.0) + k_im
        k_re, k_im = _times_square(re, im, x, y)
        x, y = tl.load(yo_re + at, live, 0.0) + w_re, tl.load(yo_im + at, live, 0.0) + w_im
        w_re, w_im = re * x + im * y, re * y - im * x
        re, im = tl.load(y_re + at, live, 0.0), tl.load(y_im + at, live, 0.0)
        k_re += re * w_re + im * w_im
        k_im += re * w_im - im * w_re
        tl.store(v_grad + at, -k_re, live)
        tl.store(u_grad + at, w_re, live)
        total += k_im.to(tl.float64)
        at -= chains
    tl.store(eta_grad + b * chains + c, total, live)


def launch(kernel: Any, *tensors: Tensor) -> None:
    batch, length, chains = tensors[0].shape
    if tensors[0].numel() == 0:
        return
    with torch.cuda.device_of(tensors[0]):
        grid = (batch, triton.cdiv(chains, _BLOCK))
        kernel[grid](*(x.contiguous() for x in tensors), length, chains, BLOCK=_BLOCK, num_warps=1)
