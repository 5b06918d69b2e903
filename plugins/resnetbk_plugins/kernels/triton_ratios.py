# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The ratios g_i = 1 / (a_i - t_i g_{i-1}), a_i = v_i - i eta, as triton kernels; the plan is in
`triton_steps`. Without `hop`, which has t_i for each row, it is 1.

With g = p / q a row is linear, (p, q) -> (q, a q - t p): the transfer matrix [[0, 1], [-t, a]]. A product of
them maps the ratio before a chunk to the one after it, g -> (m_11 g + m_12) / (m_21 g + m_22). The ratio does
not change when the matrix is scaled, so each row divides it by its largest number: it never overflows. The
denominator does not vanish: its zero has an imaginary part of at most -eta, and Im g >= 0.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_steps import chunk, chunks_before, larger, ratio, run_up, times


@triton.jit
def ratio_products(
    v, eta, hop, m, length, chains, UP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """m (B, chunks, 8, C): each chunk's m_11, m_12, m_21, m_22; nothing where run-ups are short."""
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    e = tl.load(eta + c, live, 1.0)
    if not run_up(e, 0) <= ROWS:
        zero = e * 0
        p_re, p_im, q_re, q_im = zero + 1, zero, zero, zero  # the first column
        s_re, s_im, t_re, t_im = zero, zero, zero + 1, zero  # the second
        at = (b * length + (stop - 1 if UP else first)) * chains + c
        for _ in range(stop - first):
            v_i = tl.load(v + at, live, 0.0)
            if hop is not None:
                h_i = tl.load(hop + at, live, 1.0)
                p_re, p_im, s_re, s_im = h_i * p_re, h_i * p_im, h_i * s_re, h_i * s_im
            at += -chains if UP else chains
            x_re, x_im = times(v_i, -e, q_re, q_im)
            y_re, y_im = times(v_i, -e, t_re, t_im)
            x_re, x_im, y_re, y_im = x_re - p_re, x_im - p_im, y_re - s_re, y_im - s_im
            scale = tl.maximum(larger(x_re, x_im), larger(y_re, y_im))
            scale = 1.0 / tl.maximum(scale, tl.maximum(larger(q_re, q_im), larger(t_re, t_im)))
            p_re, p_im, s_re, s_im = q_re * scale, q_im * scale, t_re * scale, t_im * scale
            q_re, q_im, t_re, t_im = x_re * scale, x_im * scale, y_re * scale, y_im * scale
        product = m + (b * tl.cdiv(length, ROWS) + k) * 8 * chains + c
        tl.store(product, p_re, live)
        tl.store(product + chains, p_im, live)
        tl.store(product + 2 * chains, s_re, live)
        tl.store(product + 3 * chains, s_im, live)
        tl.store(product + 4 * chains, q_re, live)
        tl.store(product + 5 * chains, q_im, live)
        tl.store(product + 6 * chains, t_re, live)
        tl.store(product + 7 * chains, t_im, live)


@triton.jit
def after_chunk(m, chains, live, re, im):
    """(m_11 g + m_12) / (m_21 g + m_22), for g = re + i im before a chunk with the product at m."""
    p_re, p_im = times(tl.load(m, live, 0.0), tl.load(m + chains, live, 0.0), re, im)
    p_re += tl.load(m + 2 * chains, live, 0.0)
    p_im += tl.load(m + 3 * chains, live, 0.0)
    q_re, q_im = times(tl.load(m + 4 * chains, live, 0.0), tl.load(m + 5 * chains, live, 0.0), re, im)
    q_re += tl.load(m + 6 * chains, live, 1.0)
    q_im += tl.load(m + 7 * chains, live, 0.0)
    scale = 1.0 / larger(q_re, q_im)  # or the square would underflow
    q_re, q_im = q_re * scale, q_im * scale
    scale = scale / (q_re * q_re + q_im * q_im)
    return times(p_re * scale, p_im * scale, q_re, -q_im)


@triton.jit
def ratio_scan(
    v, eta, hop, m, g_re, g_im, left_re, left_im, d_re, d_im, length, chains,
    UP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """g; upwards, with the ratios from the left, also the two-sided diagonal d."""
    b, k, first, stop, c, live = chunk(length, chains, ROWS, BLOCK)
    e = tl.load(eta + c, live, 1.0)
    re, im = e * 0, e * 0
    rows = run_up(e, 0)
    chunks = tl.cdiv(length, ROWS)
    order = chunks - 1 - k if UP else k  # of chunks in the scan
    early = 0
    if rows <= ROWS:
        early = tl.minimum(rows.to(tl.int32), length - stop if UP else first)
    else:
        before = chunks_before(rows, order, ROWS)
        product = m + (b * chunks + (k + before if UP else k - before)) * 8 * chains + c
        for _ in range(before):
            re, im = after_chunk(product, chains, live, re, im)
            product += -8 * chains if UP else 8 * chains
    at = (b * length + (stop - 1 + early if UP else first - early)) * chains + c
    second = (b * length + 1) * chains
    for _ in range(early):
        if hop is not None:
            h_i = tl.load(hop + at, live, 1.0)
            re, im = h_i * re, h_i * im
        re, im = ratio(tl.load(v + at, live, 0.0), e, re, im)
        at += -chains if UP else chains
    for _ in range(stop - first):
        v_i = tl.load(v + at, live, 0.0)
        if left_re is not None:
            left = live & (at >= second)
            x = re + tl.load(left_re + at - chains, left, 0.0)
            x, y = ratio(v_i, e, x, im + tl.load(left_im + at - chains, left, 0.0))
            tl.store(d_re + at, x, live)
            tl.store(d_im + at, y, live)
        if hop is not None:
            h_i = tl.load(hop + at, live, 1.0)
            re, im = h_i * re, h_i * im
        re, im = ratio(v_i, e, re, im)
        tl.store(g_re + at, re, live)
        tl.store(g_im + at, im, live)
        at += -chains if UP else chains
