# mypy: allow-untyped-defs
"""The scans as numba loops (CPU) over (B, N, C) arrays; `numba_scans` calls them, the operators have the
formulas.

One task is one sequence, one chunk of `rows` rows and one block of at most WIDTH chains: the inner loops run
over contiguous memory and vectorise (with few arrays per loop: with more the compiler cannot prove that they
do not overlap). A task starts `early` rows before its chunk, from state 0, and keeps nothing of these. No
fast-math: every row of every chain has the same bits for all thread counts and neighbours. `s` holds the
state of a task between rows, a quantity per line.

Compiled at the first call per dtype, one to three seconds per kernel, then stored in numba's cache.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import torch

# threads beyond torch's would only spin on cores that other processes use: 15 times slower
if "numba" not in sys.modules:  # which has read it by then, and takes no other number
    os.environ.setdefault("NUMBA_NUM_THREADS", str(torch.get_num_threads()))

import numba
import numpy as np
from numba import prange as prange  # for other loops too: numba must not be imported before the line above
from torch import Tensor

WIDTH = 64  # with narrower blocks, cores would share cache lines of a row
ROWS = 64  # of a sequence, per task of a convolution
# below this many chain-steps a thread is not worth waking
_STEPS_PER_THREAD = 16_384


def launch(kernel: Callable[..., None], *tensors: Tensor, cut: tuple[int, ...] = ()) -> None:
    """Run on as many threads as torch uses, fewer for few tasks or little work.

    `cut` is (rows, early) of a scan.
    """
    batch, length, chains = tensors[0].shape
    steps = batch * length * chains
    if steps == 0:
        return
    tasks = batch * -(-length // (cut[0] if cut else ROWS)) * -(-chains // WIDTH)
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(torch.get_num_threads(), before, tasks, steps // _STEPS_PER_THREAD)))
    try:
        kernel(*(x.detach().contiguous().numpy() for x in tensors), *cut)
    finally:
        numba.set_num_threads(before)


def compiled(loops: Callable[..., None]) -> Callable[..., None]:
    """A kernel, compiled at its first call and kept in numba's cache where that can be written."""
    options: dict[str, Any] = {"parallel": True, "error_model": "numpy"}
    try:
        kernel: Callable[..., None] = numba.njit(cache=True, **options)(loops)
    except RuntimeError:  # no writable place for the cache
        kernel = numba.njit(**options)(loops)
    return kernel


@numba.njit(error_model="numpy")
def task_of(number, shape, rows):
    """(sequence, chunk, its first row, the row after its last, first chain, the chain after the last)."""
    _, length, chains = shape
    blocks, chunks = (chains + WIDTH - 1) // WIDTH, (length + rows - 1) // rows
    b, k, lo = number // (blocks * chunks), number // blocks % chunks, number % blocks * WIDTH
    return b, k, k * rows, min(k * rows + rows, length), lo, min(lo + WIDTH, chains)


@numba.njit(error_model="numpy")
def tasks_of(shape, rows):
    return shape[0] * ((shape[1] + rows - 1) // rows) * ((shape[2] + WIDTH - 1) // WIDTH)


@compiled
def one_sided(v, eta, g_re, g_im, rows, early):
    one = v.dtype.type(1)
    for task in prange(tasks_of(v.shape, rows)):
        b, _, first, stop, lo, hi = task_of(task, v.shape, rows)
        width = eta[lo:hi]
        s = np.zeros((4, hi - lo), v.dtype)
        last_re, last_im = s[0], s[1]
        for i in range(max(first - early, 0), stop):
            v_i, re, im = v[b, i, lo:hi], g_re[b, i, lo:hi], g_im[b, i, lo:hi]
            if i < first:
                re, im = s[2 * (i % 2)], s[2 * (i % 2) + 1]
            for c in range(hi - lo):
                x, y = v_i[c] - last_re[c], width[c] + last_im[c]
                inverse = one / (x * x + y * y)
                re[c] = x * inverse
                im[c] = y * inverse
            last_re, last_im = re, im


@compiled
def one_sided_adjoint(g_re, g_im, out_re, out_im, v_grad, eta_grad, rows, early):
    length = g_re.shape[1]
    two = g_re.dtype.type(2)
    for task in prange(tasks_of(g_re.shape, rows)):
        b, k, first, stop, lo, hi = task_of(task, g_re.shape, rows)
        s = np.zeros((3, WIDTH), g_re.dtype)
        total = eta_grad[b, k, lo:hi]
        for i in range(min(stop + early, length) - 1, first - 1, -1):
            re, im = g_re[b, i, lo:hi], g_im[b, i, lo:hi]
            from_re, from_im = out_re[b, i, lo:hi], out_im[b, i, lo:hi]
            for c in range(hi - lo):
                x, y = from_re[c] + s[0, c], from_im[c] + s[1, c]
                p, q = re[c] * re[c] - im[c] * im[c], -two * re[c] * im[c]
                s[0, c] = p * x - q * y
                s[1, c] = p * y + q * x
            if i >= stop:
                continue
            v_i = v_grad[b, i, lo:hi]
            for c in range(hi - lo):
                v_i[c] = -s[0, c]
                s[2, c] += s[1, c]
            if i % 16 == 0:  # sums of 16 rows in the dtype of the rows, their sum in float64
                for c in range(hi - lo):
                    total[c] += s[2, c]
                    s[2, c] = 0


@compiled
def two_sided(v, eta, d_re, d_im, l_re, l_im, r_re, r_im, rows, early):
    length = v.shape[1]
    one = v.dtype.type(1)
    for task in prange(tasks_of(v.shape, rows)):
        b, _, first, stop, lo, hi = task_of(task, v.shape, rows)
        s = np.zeros((9, WIDTH), v.dtype)
        s[4, : hi - lo] = eta[lo:hi]
        for i in range(min(stop + early, length) - 1, first - 1, -1):
            v_i, re, im = v[b, i, lo:hi], r_re[b, i, lo:hi], r_im[b, i, lo:hi]
            if i >= stop:
                re, im = s[5, : hi - lo], s[6, : hi - lo]
            elif i == stop - 1:
                s[7:] = s[:2]  # the ratio of the row after the chunk
            for c in range(hi - lo):
                x, y = v_i[c] - s[0, c], s[4, c] + s[1, c]
                inverse = one / (x * x + y * y)
                re[c] = s[0, c] = x * inverse
                im[c] = s[1, c] = y * inverse
        s[:2] = 0
        for i in range(max(first - early, 0), stop):
            v_i, re, im = v[b, i, lo:hi], l_re[b, i, lo:hi], l_im[b, i, lo:hi]
            if i < first:
                re, im = s[5, : hi - lo], s[6, : hi - lo]
            for c in range(hi - lo):
                x, y = v_i[c] - s[0, c], s[4, c] + s[1, c]
                s[2, c], s[3, c] = x, y
                inverse = one / (x * x + y * y)
                re[c] = s[0, c] = x * inverse
                im[c] = s[1, c] = y * inverse
            if i < first:
                continue
            re, im = s[7, : hi - lo], s[8, : hi - lo]
            if i < stop - 1:
                re, im = r_re[b, i + 1, lo:hi], r_im[b, i + 1, lo:hi]
            for c in range(hi - lo):
                s[2, c] -= re[c]
                s[3, c] += im[c]
            re, im = d_re[b, i, lo:hi], d_im[b, i, lo:hi]
            for c in range(hi - lo):
                x, y = s[2, c], s[3, c]
                inverse = one / (x * x + y * y)
                re[c] = x * inverse
                im[c] = y * inverse


@compiled
def two_sided_adjoint(
    d_re, d_im, l_re, l_im, r_re, r_im, out_re, out_im, v_grad, kept_re, kept_im, eta_grad, rows, early
):
    length = d_re.shape[1]
    two = d_re.dtype.type(2)
    for task in prange(tasks_of(d_re.shape, rows)):
        b, k, first, stop, lo, hi = task_of(task, d_re.shape, rows)
        s = np.zeros((4, WIDTH), d_re.dtype)
        total = eta_grad[b, k, lo:hi]
        for i in range(min(stop + early, length) - 1, first - 1, -1):
            re, im = r_re[b, i, lo:hi], r_im[b, i, lo:hi]
            from_re, from_im = out_re[b, i, lo:hi], out_im[b, i, lo:hi]
            for c in range(hi - lo):
                x, y = from_re[c] + s[0, c], from_im[c] + s[1, c]
                s[2, c], s[3, c] = x, y
                p, q = re[c] * re[c] - im[c] * im[c], -two * re[c] * im[c]
                s[0, c] = p * x - q * y
                s[1, c] = p * y + q * x
            if i < stop:  # contributions of row i and the rows after it
                kept_re[b, i, lo:hi] = s[2, : hi - lo]
                kept_im[b, i, lo:hi] = s[3, : hi - lo]
        s[:] = 0
        for i in range(max(first - early, 0), stop):
            if i >= first:
                re, im = d_re[b, i, lo:hi], d_im[b, i, lo:hi]
                from_re, from_im = kept_re[b, i, lo:hi], kept_im[b, i, lo:hi]
                for c in range(hi - lo):
                    x, y = from_re[c] + s[0, c], from_im[c] + s[1, c]
                    p, q = re[c] * re[c] - im[c] * im[c], -two * re[c] * im[c]
                    s[2, c] = p * x - q * y
                    s[3, c] = p * y + q * x
                v_i = v_grad[b, i, lo:hi]
                for c in range(hi - lo):
                    v_i[c] = -s[2, c]
                    total[c] += s[3, c]
            re, im = l_re[b, i, lo:hi], l_im[b, i, lo:hi]
            from_re, from_im = out_re[b, i, lo:hi], out_im[b, i, lo:hi]
            for c in range(hi - lo):
                x, y = from_re[c] + s[0, c], from_im[c] + s[1, c]
                p, q = re[c] * re[c] - im[c] * im[c], -two * re[c] * im[c]
                s[0, c] = p * x - q * y
                s[1, c] = p * y + q * x


@compiled
def resolvent(v, eta, u, y_re, y_im, g_re, g_im, rows, early):
    one = v.dtype.type(1)
    for task in prange(tasks_of(v.shape, rows)):
        b, _, first, stop, lo, hi = task_of(task, v.shape, rows)
        s = np.zeros((7, WIDTH), v.dtype)
        s[4, : hi - lo] = eta[lo:hi]
        for i in range(max(first - early, 0), stop):
            v_i, re, im = v[b, i, lo:hi], g_re[b, i, lo:hi], g_im[b, i, lo:hi]
            if i < first:
                re, im = s[5, : hi - lo], s[6, : hi - lo]
            for c in range(hi - lo):
                x, y = v_i[c] - s[0, c], s[4, c] + s[1, c]
                inverse = one / (x * x + y * y)
                re[c] = s[0, c] = x * inverse
                im[c] = s[1, c] = y * inverse
            u_i, re, im = u[b, i, lo:hi], y_re[b, i, lo:hi], y_im[b, i, lo:hi]
            if i < first:
                re, im = s[5, : hi - lo], s[6, : hi - lo]
            for c in range(hi - lo):
                x, y = u_i[c] + s[2, c], s[3, c]
                re[c] = s[2, c] = s[0, c] * x - s[1, c] * y
                im[c] = s[3, c] = s[0, c] * y + s[1, c] * x


@compiled
def resolvent_adjoint(
    y_re, y_im, g_re, g_im, yo_re, yo_im, go_re, go_im, v_grad, u_grad, eta_grad, rows, early
):
    length = y_re.shape[1]
    two = y_re.dtype.type(2)
    for task in prange(tasks_of(y_re.shape, rows)):
        b, k, first, stop, lo, hi = task_of(task, y_re.shape, rows)
        s = np.zeros((4, WIDTH), y_re.dtype)
        total = eta_grad[b, k, lo:hi]
        for i in range(min(stop + early, length) - 1, first - 1, -1):
            re, im = g_re[b, i, lo:hi], g_im[b, i, lo:hi]
            from_re, from_im = go_re[b, i, lo:hi], go_im[b, i, lo:hi]
            for c in range(hi - lo):
                x, y = from_re[c] + s[2, c], from_im[c] + s[3, c]
                p, q = re[c] * re[c] - im[c] * im[c], -two * re[c] * im[c]
                s[2, c] = p * x - q * y
                s[3, c] = p * y + q * x
            from_re, from_im = yo_re[b, i, lo:hi], yo_im[b, i, lo:hi]
            for c in range(hi - lo):
                x, y = from_re[c] + s[0, c], from_im[c] + s[1, c]
                s[0, c] = re[c] * x + im[c] * y
                s[1, c] = re[c] * y - im[c] * x
            re, im = y_re[b, i, lo:hi], y_im[b, i, lo:hi]
            for c in range(hi - lo):
                s[2, c] += re[c] * s[0, c] + im[c] * s[1, c]
                s[3, c] += re[c] * s[1, c] - im[c] * s[0, c]
            if i >= stop:
                continue
            v_i, u_i = v_grad[b, i, lo:hi], u_grad[b, i, lo:hi]
            for c in range(hi - lo):
                v_i[c] = -s[2, c]
                u_i[c] = s[0, c]
                total[c] += s[3, c]
