# mypy: allow-untyped-defs
"""The scan of quaternions as numba loops (CPU) over (B, N, 4, C), a task per sequence, chunk of `rows` rows
and block of chains.

`start` (B, chunks, 4, C) are the states that chunks begin with: nothing is forgotten, so they come from the
products of the chunks before. A row is copied to `s`, a quantity per line, where the compiler knows what does
not overlap, and computed there.
"""

from __future__ import annotations

import numpy as np

from .numba_kernels import WIDTH, compiled, prange, task_of, tasks_of


@compiled
def transfer(f, q, x, start, y, rows):
    for task in prange(tasks_of(f.shape, rows)):
        b, chunk, first, stop, lo, hi = task_of(task, f.shape, rows)
        s = np.zeros((8, WIDTH), f.dtype)
        for k in range(4):
            s[k, : hi - lo] = start[b, chunk, k, lo:hi]
        for i in range(first, stop):
            f_i = f[b, i, lo:hi]
            for k in range(4):
                q_k, s_k = q[b, i, k, lo:hi], s[4 + k]
                for c in range(hi - lo):
                    s_k[c] = f_i[c] * q_k[c]
            for c in range(hi - lo):
                a0, a1, a2, a3 = s[0, c], s[1, c], s[2, c], s[3, c]
                b0, b1, b2, b3 = s[4, c], s[5, c], s[6, c], s[7, c]
                s[0, c] = a0 * b0 - a1 * b1 - a2 * b2 - a3 * b3
                s[1, c] = a0 * b1 + a1 * b0 + a2 * b3 - a3 * b2
                s[2, c] = a0 * b2 - a1 * b3 + a2 * b0 + a3 * b1
                s[3, c] = a0 * b3 + a1 * b2 - a2 * b1 + a3 * b0
            for k in range(4):
                x_k, y_k, s_k = x[b, i, k, lo:hi], y[b, i, k, lo:hi], s[k]
                for c in range(hi - lo):
                    y_k[c] = s_k[c] = s_k[c] + x_k[c]


@compiled
def transfer_products(f, q, x, product, last, rows, up):
    """product and last (B, chunks, 4, C): a chunk takes the state y before it to y product + last.

    With `up` the scan is that of the adjoint, from the last row to the first: y -> (y + x) conj(f q).
    """
    sign = f.dtype.type(-1 if up else 1)
    for task in prange(tasks_of(f.shape, rows)):
        b, chunk, first, stop, lo, hi = task_of(task, f.shape, rows)
        s = np.zeros((12, WIDTH), f.dtype)  # the last state from 0, the product, f q
        s[4] = 1
        for j in range(stop - first):
            i = stop - 1 - j if up else first + j
            f_i = f[b, i, lo:hi]
            for k in range(4):
                q_k, s_k = q[b, i, k, lo:hi], s[8 + k]
                for c in range(hi - lo):
                    s_k[c] = f_i[c] * q_k[c]
                if up:
                    x_k, s_k = x[b, i, k, lo:hi], s[k]
                    for c in range(hi - lo):
                        s_k[c] += x_k[c]
            for n in (0, 4):
                for c in range(hi - lo):
                    a0, a1, a2, a3 = s[n, c], s[n + 1, c], s[n + 2, c], s[n + 3, c]
                    b0, b1, b2, b3 = s[8, c], sign * s[9, c], sign * s[10, c], sign * s[11, c]
                    s[n, c] = a0 * b0 - a1 * b1 - a2 * b2 - a3 * b3
                    s[n + 1, c] = a0 * b1 + a1 * b0 + a2 * b3 - a3 * b2
                    s[n + 2, c] = a0 * b2 - a1 * b3 + a2 * b0 + a3 * b1
                    s[n + 3, c] = a0 * b3 + a1 * b2 - a2 * b1 + a3 * b0
            if not up:
                for k in range(4):
                    x_k, s_k = x[b, i, k, lo:hi], s[k]
                    for c in range(hi - lo):
                        s_k[c] += x_k[c]
        for k in range(4):
            last[b, chunk, k, lo:hi] = s[k, : hi - lo]
            product[b, chunk, k, lo:hi] = s[4 + k, : hi - lo]


@compiled
def transfer_adjoint(f, q, y, out, start, f_grad, q_grad, x_grad, rows):
    zero = f.dtype.type(0)
    for task in prange(tasks_of(f.shape, rows)):
        b, chunk, first, stop, lo, hi = task_of(task, f.shape, rows)
        s = np.zeros((14, WIDTH), f.dtype)  # k, y_{i-1} and then h, q, f, the gradient of f
        for k in range(4):
            s[k, : hi - lo] = start[b, chunk, k, lo:hi]
        for i in range(stop - 1, first - 1, -1):
            f_i, s_k = f[b, i, lo:hi], s[12]
            for c in range(hi - lo):
                s_k[c] = f_i[c]
            for k in range(4):
                out_k, x_k, s_k = out[b, i, k, lo:hi], x_grad[b, i, k, lo:hi], s[k]
                for c in range(hi - lo):
                    x_k[c] = s_k[c] = s_k[c] + out_k[c]
                y_k, s_k = y[b, max(i - 1, 0), k, lo:hi], s[4 + k]
                for c in range(hi - lo):
                    s_k[c] = y_k[c] if i > 0 else zero
                q_k, s_k = q[b, i, k, lo:hi], s[8 + k]
                for c in range(hi - lo):
                    s_k[c] = q_k[c]
            for c in range(hi - lo):
                k0, k1, k2, k3 = s[0, c], s[1, c], s[2, c], s[3, c]
                y0, y1, y2, y3 = s[4, c], s[5, c], s[6, c], s[7, c]
                s[4, c] = y0 * k0 + y1 * k1 + y2 * k2 + y3 * k3
                s[5, c] = y0 * k1 - y1 * k0 - y2 * k3 + y3 * k2
                s[6, c] = y0 * k2 + y1 * k3 - y2 * k0 - y3 * k1
                s[7, c] = y0 * k3 - y1 * k2 + y2 * k1 - y3 * k0
            for c in range(hi - lo):
                s[13, c] = s[8, c] * s[4, c] + s[9, c] * s[5, c] + s[10, c] * s[6, c] + s[11, c] * s[7, c]
            for c in range(hi - lo):
                k0, k1, k2, k3 = s[0, c], s[1, c], s[2, c], s[3, c]
                q0, q1, q2, q3 = s[8, c], s[9, c], s[10, c], s[11, c]
                s[0, c] = s[12, c] * (k0 * q0 + k1 * q1 + k2 * q2 + k3 * q3)
                s[1, c] = s[12, c] * (k1 * q0 - k0 * q1 - k2 * q3 + k3 * q2)
                s[2, c] = s[12, c] * (k2 * q0 - k0 * q2 + k1 * q3 - k3 * q1)
                s[3, c] = s[12, c] * (k3 * q0 - k0 * q3 - k1 * q2 + k2 * q1)
            grad, s_k = f_grad[b, i, lo:hi], s[13]
            for c in range(hi - lo):
                grad[c] = s_k[c]
            for k in range(4):
                for c in range(hi - lo):
                    s[4 + k, c] *= s[12, c]
                grad, s_k = q_grad[b, i, k, lo:hi], s[4 + k]
                for c in range(hi - lo):
                    grad[c] = s_k[c]
