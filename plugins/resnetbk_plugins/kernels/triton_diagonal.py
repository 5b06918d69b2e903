# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The diagonal recurrence h_i = f_i h_{i-1} + x_i as triton kernels, and upwards k_i = x_i + f_{i+1} k_{i+1}.

A program is a chunk of rows, as in `triton_steps`, and gets the state before it by products alone: the kernel
`diagonal_products` computes what each chunk does to a state, the recurrence of these has the state after
each chunk, and `diagonal_scan` starts from it. There are as many levels as it takes until one chunk has all:
no program walks over more rows than a chunk has.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_steps import chunk


@triton.jit
def rows_of(f, x, at, chains, end, live, UP: tl.constexpr):
    """The factor and the inflow at a row; upwards the factor is that of the row after it."""
    if UP:
        return tl.load(f + at + chains, live & (at + chains < end), 0.0), tl.load(x + at, live, 0.0)
    return tl.load(f + at, live, 0.0), tl.load(x + at, live, 0.0)


@triton.jit
def diagonal_products(
    f, x, product, added, length, chains, UP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """(B, chunks, C) each: the product of each chunk's factors, and its last state from state 0.

    Upwards the product is stored at the chunk before, where the recurrence upwards reads its factors.
    """
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    chunks = tl.cdiv(length, ROWS)
    end = (b + 1) * length * chains
    h = tl.zeros((BLOCK,), x.dtype.element_ty)
    all_f = h + 1
    at = (b * length + (stop - 1 if UP else first)) * chains + c
    for _ in range(stop - first):
        f_i, x_i = rows_of(f, x, at, chains, end, live, UP)
        h = f_i * h + x_i
        all_f *= f_i
        at += -chains if UP else chains
    place = (b * chunks + k) * chains + c
    tl.store(added + place, h, live)
    if UP:
        tl.store(product + place + chains, all_f, live & (place + chains < (b + 1) * chunks * chains))
    else:
        tl.store(product + place, all_f, live)


@triton.jit
def diagonal_scan(
    f, x, after, h, states, f_grad, length, chains,
    UP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """States from those `after` each chunk (B, chunks, C); with h also k_i h_{i-1}, the gradient of f."""
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    end = (b + 1) * length * chains
    state = tl.zeros((BLOCK,), x.dtype.element_ty)
    if after is not None:
        chunks = tl.cdiv(length, ROWS)
        place = (b * chunks + (k + 1 if UP else k - 1)) * chains + c
        there = live & (place >= b * chunks * chains) & (place < (b + 1) * chunks * chains)
        state = tl.load(after + place, there, 0.0)
    at = (b * length + (stop - 1 if UP else first)) * chains + c
    second = (b * length + 1) * chains
    for _ in range(stop - first):
        f_i, x_i = rows_of(f, x, at, chains, end, live, UP)
        state = f_i * state + x_i
        tl.store(states + at, state, live)
        if h is not None:
            tl.store(f_grad + at, state * tl.load(h + at - chains, live & (at >= second), 0.0), live)
        at += -chains if UP else chains
