# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The linear scans s_i = f_i (x_i + s_{i-1}) as triton kernels; `triton_steps` has the plan.

The factor f_i is a power of the ratio g_i, or its conjugate. A chunk maps the state s before it to F s + S,
with F the product of its factors and S its last state from s = 0; |F| <= 1 / eta^POWER (see `forgetting`), so
neither overflows where the scan row by row would not.

The gradient of the resolvent adds a term to each state, s_i = f_i (x_i + s_{i+1}) + conj(y_i) w_i. The maps
of its chunks have the same form.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_steps import chunk, chunks_before, run_up, times


@triton.jit
def linear_row(
    g_re, g_im, x_re, x_im, y_re, y_im, w_re, w_im, at, live, re, im,
    POWER: tl.constexpr, CONJUGATE: tl.constexpr,
):  # fmt: skip
    """The factor, the inflow x_i + s_{i-1}, and the state s_i, from the state s_{i-1}."""
    f_re, f_im = tl.load(g_re + at, live, 0.0), tl.load(g_im + at, live, 0.0)
    if POWER == 2:
        f_re, f_im = f_re * f_re - f_im * f_im, 2.0 * f_re * f_im
    if CONJUGATE:
        f_im = -f_im
    x, y = tl.load(x_re + at, live, 0.0) + re, im
    if x_im is not None:
        y = tl.load(x_im + at, live, 0.0) + im
    re, im = times(f_re, f_im, x, y)
    if y_re is not None:
        own_re, own_im = tl.load(y_re + at, live, 0.0), tl.load(y_im + at, live, 0.0)
        own_re, own_im = times(own_re, -own_im, tl.load(w_re + at, live, 0.0), tl.load(w_im + at, live, 0.0))
        re, im = re + own_re, im + own_im
    return f_re, f_im, x, y, re, im


@triton.jit
def linear_products(
    eta, m, g_re, g_im, x_re, x_im, y_re, y_im, w_re, w_im, length, chains,
    POWER: tl.constexpr, CONJUGATE: tl.constexpr, UP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """m (B, chunks, 4, C): each chunk's F and S; nothing where run-ups are short."""
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    e = tl.load(eta + c, live, 1.0)
    if not run_up(e, POWER) <= ROWS:
        re, im, all_re, all_im = e * 0, e * 0, e * 0 + 1, e * 0
        at = (b * length + (stop - 1 if UP else first)) * chains + c
        for _ in range(stop - first):
            f_re, f_im, _, _, re, im = linear_row(
                g_re, g_im, x_re, x_im, y_re, y_im, w_re, w_im, at, live, re, im, POWER, CONJUGATE
            )
            all_re, all_im = times(f_re, f_im, all_re, all_im)
            at += -chains if UP else chains
        product = m + (b * tl.cdiv(length, ROWS) + k) * 4 * chains + c
        tl.store(product, all_re, live)
        tl.store(product + chains, all_im, live)
        tl.store(product + 2 * chains, re, live)
        tl.store(product + 3 * chains, im, live)


@triton.jit
def linear_scan(
    eta, m, g_re, g_im, x_re, x_im, y_re, y_im, w_re, w_im, d_re, d_im, a_re, a_im, out_re, out_im,
    length, chains, GRADIENT: tl.constexpr,
    POWER: tl.constexpr, CONJUGATE: tl.constexpr, UP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The states; with GRADIENT, minus their real and the sums of their imaginary parts (B, chunks, C).

    For the gradients of the two-sided diagonal d, a has the states of the scan from before, and each state of
    this one, from behind, is replaced by conj(d_i^2) (x_i + s_{i+1} + a_{i-1}).
    """
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    e = tl.load(eta + c, live, 1.0)
    re, im, total = e * 0, e * 0, e * 0
    rows = run_up(e, POWER)
    chunks = tl.cdiv(length, ROWS)
    early = 0
    if rows <= ROWS:
        early = tl.minimum(rows.to(tl.int32), length - stop if UP else first)
    else:
        before = chunks_before(rows, chunks - 1 - k if UP else k, ROWS)
        product = m + (b * chunks + (k + before if UP else k - before)) * 4 * chains + c
        for _ in range(before):
            re, im = times(tl.load(product, live, 0.0), tl.load(product + chains, live, 0.0), re, im)
            re += tl.load(product + 2 * chains, live, 0.0)
            im += tl.load(product + 3 * chains, live, 0.0)
            product += -4 * chains if UP else 4 * chains
    at = (b * length + (stop - 1 + early if UP else first - early)) * chains + c
    second = (b * length + 1) * chains
    for _ in range(early):
        _, _, _, _, re, im = linear_row(
            g_re, g_im, x_re, x_im, y_re, y_im, w_re, w_im, at, live, re, im, POWER, CONJUGATE
        )
        at += -chains if UP else chains
    for _ in range(stop - first):
        _, _, x, y, re, im = linear_row(
            g_re, g_im, x_re, x_im, y_re, y_im, w_re, w_im, at, live, re, im, POWER, CONJUGATE
        )
        k_re, k_im = re, im
        if d_re is not None:
            left = live & (at >= second)
            x += tl.load(a_re + at - chains, left, 0.0)
            y += tl.load(a_im + at - chains, left, 0.0)
            k_re, k_im = tl.load(d_re + at, live, 0.0), tl.load(d_im + at, live, 0.0)
            k_re, k_im = times(k_re * k_re - k_im * k_im, -2.0 * k_re * k_im, x, y)
        if GRADIENT:
            tl.store(out_re + at, -k_re, live)
            total += k_im
        else:
            tl.store(out_re + at, k_re, live)
            tl.store(out_im + at, k_im, live)
        at += -chains if UP else chains
    if GRADIENT:
        tl.store(out_im + (b * chunks + k) * chains + c, total, live)
