# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The scan of quaternions y_i = y_{i-1} Q_i + x_i, Q = f q, as triton kernels; `triton_steps` has the plan.

Nothing is forgotten where f = 1, so there are no run-ups. A chunk maps the state before it to y P + S, with P
the product of its Q and S its last state from 0: a row of a sequence with a row for each chunk. Its scan, by
the same kernels and without a gate, has the states between chunks.

With ADJOINT the scan is that of the gradient, k_i = k_{i+1} conj(Q_{i+1}) + out_i from the last row up, and
its chunks are stored in the order of that scan.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_steps import chunk


@triton.jit
def quaternion(x, row, chains, c, live):
    at = row * 4 * chains + c
    return (
        tl.load(x + at, live, 0.0),
        tl.load(x + at + chains, live, 0.0),
        tl.load(x + at + 2 * chains, live, 0.0),
        tl.load(x + at + 3 * chains, live, 0.0),
    )


@triton.jit
def store(x, row, chains, c, live, a0, a1, a2, a3):
    at = row * 4 * chains + c
    tl.store(x + at, a0, live)
    tl.store(x + at + chains, a1, live)
    tl.store(x + at + 2 * chains, a2, live)
    tl.store(x + at + 3 * chains, a3, live)


@triton.jit
def product(a0, a1, a2, a3, b0, b1, b2, b3):
    return (
        a0 * b0 - a1 * b1 - a2 * b2 - a3 * b3,
        a0 * b1 + a1 * b0 + a2 * b3 - a3 * b2,
        a0 * b2 - a1 * b3 + a2 * b0 + a3 * b1,
        a0 * b3 + a1 * b2 - a2 * b1 + a3 * b0,
    )


@triton.jit
def factor(q, f, row, chains, c, live):
    """Q = f q of a row."""
    q0, q1, q2, q3 = quaternion(q, row, chains, c, live)
    if f is not None:
        gate = tl.load(f + row * chains + c, live, 0.0)
        q0, q1, q2, q3 = gate * q0, gate * q1, gate * q2, gate * q3
    return q0, q1, q2, q3


@triton.jit
def transfer_products(
    q, f, x, p, s, length, chains, ADJOINT: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """p and s (B, chunks, 4, C): each chunk's P and S."""
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    zero = tl.zeros([BLOCK], q.dtype.element_ty)
    p0, p1, p2, p3 = zero + 1, zero, zero, zero
    s0, s1, s2, s3 = zero, zero, zero, zero
    for i in range(stop - first):
        row = stop - 1 - i if ADJOINT else first + i
        if ADJOINT:
            later = live & ((row + 1) * chains + c < length * chains)
            q0, q1, q2, q3 = factor(q, f, b * length + row + 1, chains, c, later)
            q1, q2, q3 = -q1, -q2, -q3
        else:
            q0, q1, q2, q3 = factor(q, f, b * length + row, chains, c, live)
        x0, x1, x2, x3 = quaternion(x, b * length + row, chains, c, live)
        p0, p1, p2, p3 = product(p0, p1, p2, p3, q0, q1, q2, q3)
        s0, s1, s2, s3 = product(s0, s1, s2, s3, q0, q1, q2, q3)
        s0, s1, s2, s3 = s0 + x0, s1 + x1, s2 + x2, s3 + x3
    chunks = tl.cdiv(length, ROWS)
    place = b * chunks + (chunks - 1 - k if ADJOINT else k)
    store(p, place, chains, c, live, p0, p1, p2, p3)
    store(s, place, chains, c, live, s0, s1, s2, s3)


@triton.jit
def transfer_scan(q, f, x, between, y, length, chains, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """y, from the states after each chunk, `between` (B, chunks, 4, C), None where there is one."""
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    zero = tl.zeros([BLOCK], q.dtype.element_ty)
    y0, y1, y2, y3 = zero, zero, zero, zero
    if between is not None:
        earlier = live & (first * chains + c >= chains)
        y0, y1, y2, y3 = quaternion(between, b * tl.cdiv(length, ROWS) + k - 1, chains, c, earlier)
    for i in range(first, stop):
        q0, q1, q2, q3 = factor(q, f, b * length + i, chains, c, live)
        x0, x1, x2, x3 = quaternion(x, b * length + i, chains, c, live)
        y0, y1, y2, y3 = product(y0, y1, y2, y3, q0, q1, q2, q3)
        y0, y1, y2, y3 = y0 + x0, y1 + x1, y2 + x2, y3 + x3
        store(y, b * length + i, chains, c, live, y0, y1, y2, y3)


@triton.jit
def transfer_adjoint(
    q, f, y, out, between, f_grad, q_grad, x_grad, length, chains, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """All three gradients; `between` are states of the scan from the last row up."""
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    zero = tl.zeros([BLOCK], q.dtype.element_ty)
    k0, k1, k2, k3 = zero, zero, zero, zero
    if between is not None:
        chunks = tl.cdiv(length, ROWS)
        later = live & (stop * chains + c < length * chains)
        k0, k1, k2, k3 = quaternion(between, b * chunks + chunks - 2 - k, chains, c, later)
        q0, q1, q2, q3 = factor(q, f, b * length + stop, chains, c, later)
        k0, k1, k2, k3 = product(k0, k1, k2, k3, q0, -q1, -q2, -q3)
    for i in range(stop - first):
        row = b * length + stop - 1 - i
        x0, x1, x2, x3 = quaternion(out, row, chains, c, live)
        k0, k1, k2, k3 = k0 + x0, k1 + x1, k2 + x2, k3 + x3
        store(x_grad, row, chains, c, live, k0, k1, k2, k3)
        earlier = live & (row * chains + c >= (b * length + 1) * chains)
        y0, y1, y2, y3 = quaternion(y, row - 1, chains, c, earlier)
        h0, h1, h2, h3 = product(y0, -y1, -y2, -y3, k0, k1, k2, k3)
        q0, q1, q2, q3 = quaternion(q, row, chains, c, live)
        gate = tl.load(f + row * chains + c, live, 0.0)
        tl.store(f_grad + row * chains + c, q0 * h0 + q1 * h1 + q2 * h2 + q3 * h3, live)
        store(q_grad, row, chains, c, live, gate * h0, gate * h1, gate * h2, gate * h3)
        k0, k1, k2, k3 = product(k0, k1, k2, k3, gate * q0, -gate * q1, -gate * q2, -gate * q3)
