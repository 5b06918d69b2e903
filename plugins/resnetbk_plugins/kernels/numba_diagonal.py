# mypy: allow-untyped-defs
"""The diagonal recurrence as numba loops (CPU), a task for `rows` rows of a sequence and a block of channels.

`start` (B, chunks, C) are the states that chunks begin with, from the products of chunks before. With one
chunk, as in batches of training, a row has the bits of f * h + x row by row.
"""

from __future__ import annotations

import numpy as np

from .numba_kernels import compiled, prange, task_of, tasks_of


@compiled
def diagonal(f, x, start, h, rows):
    for task in prange(tasks_of(x.shape, rows)):
        b, k, first, stop, lo, hi = task_of(task, x.shape, rows)
        state = start[b, k, lo:hi]
        for i in range(first, stop):
            f_i, x_i, h_i = f[b, i, lo:hi], x[b, i, lo:hi], h[b, i, lo:hi]
            for c in range(hi - lo):
                h_i[c] = f_i[c] * state[c] + x_i[c]
            state = h_i


@compiled
def diagonal_products(f, x, p, last, rows, up):
    """p and last (B, chunks, C): a chunk maps the state before it to p state + last. From the last row up, as
    the adjoint reads them, the maps are state -> f (state + x)."""
    for task in prange(tasks_of(x.shape, rows)):
        b, k, first, stop, lo, hi = task_of(task, x.shape, rows)
        s = np.zeros((2, hi - lo), x.dtype)
        state, product = s[0], s[1]
        product[:] = 1
        for j in range(stop - first):
            i = stop - 1 - j if up else first + j
            f_i, x_i = f[b, i, lo:hi], x[b, i, lo:hi]
            if up:
                for c in range(hi - lo):
                    state[c] = f_i[c] * (state[c] + x_i[c])
            else:
                for c in range(hi - lo):
                    state[c] = f_i[c] * state[c] + x_i[c]
            for c in range(hi - lo):
                product[c] *= f_i[c]
        last[b, k, lo:hi] = state
        p[b, k, lo:hi] = product


@compiled
def diagonal_adjoint(f, h, out, start, f_grad, x_grad, rows):
    for task in prange(tasks_of(h.shape, rows)):
        b, k, first, stop, lo, hi = task_of(task, h.shape, rows)
        from_later = np.zeros(hi - lo, h.dtype)
        from_later[:] = start[b, k, lo:hi]
        for i in range(stop - 1, first - 1, -1):
            f_i, out_i, k_i = f[b, i, lo:hi], out[b, i, lo:hi], x_grad[b, i, lo:hi]
            for c in range(hi - lo):
                k_c = out_i[c] + from_later[c]
                k_i[c] = k_c
                from_later[c] = f_i[c] * k_c
            grad = f_grad[b, i, lo:hi]
            if i == 0:
                grad[:] = 0
            else:
                before = h[b, i - 1, lo:hi]
                for c in range(hi - lo):
                    grad[c] = k_i[c] * before[c]
