# mypy: allow-untyped-defs
"""The diagonal recurrence as numba loops (CPU), a task for all rows of a sequence and a block of channels.

Products over chunks would read everything twice, for cores that batches of training occupy without them. So
a row has the same bits for any number of threads and of rows, those of f * h + x row by row.
"""

from __future__ import annotations

import numpy as np

from .numba_kernels import WIDTH, compiled, prange


@compiled
def diagonal(f, x, h):
    batch, length, channels = x.shape
    blocks = (channels + WIDTH - 1) // WIDTH
    for task in prange(batch * blocks):
        b, lo = task // blocks, task % blocks * WIDTH
        hi = min(lo + WIDTH, channels)
        state = np.zeros(hi - lo, x.dtype)
        for i in range(length):
            f_i, x_i, h_i = f[b, i, lo:hi], x[b, i, lo:hi], h[b, i, lo:hi]
            for c in range(hi - lo):
                h_i[c] = f_i[c] * state[c] + x_i[c]
            state = h_i


@compiled
def diagonal_adjoint(f, h, out, f_grad, x_grad):
    batch, length, channels = h.shape
    blocks = (channels + WIDTH - 1) // WIDTH
    for task in prange(batch * blocks):
        b, lo = task // blocks, task % blocks * WIDTH
        hi = min(lo + WIDTH, channels)
        from_later = np.zeros(hi - lo, h.dtype)
        for i in range(length - 1, -1, -1):
            f_i, out_i, k_i = f[b, i, lo:hi], out[b, i, lo:hi], x_grad[b, i, lo:hi]
            for c in range(hi - lo):
                k = out_i[c] + from_later[c]
                k_i[c] = k
                from_later[c] = f_i[c] * k
            grad = f_grad[b, i, lo:hi]
            if i == 0:
                grad[:] = 0
            else:
                before = h[b, i - 1, lo:hi]
                for c in range(hi - lo):
                    grad[c] = k_i[c] * before[c]
