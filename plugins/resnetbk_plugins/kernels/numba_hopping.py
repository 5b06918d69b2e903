# mypy: allow-untyped-defs
"""The ratios with a hopping for each row as a numba loop (CPU); the plan is that of `numba_kernels`."""

from __future__ import annotations

import numpy as np

from .numba_kernels import WIDTH, compiled, prange, task_of, tasks_of


@compiled
def hopping(v, eta, t, k_re, k_im, rows, early):
    one = v.dtype.type(1)
    for task in prange(tasks_of(v.shape, rows)):
        b, _, first, stop, lo, hi = task_of(task, v.shape, rows)
        s = np.zeros((5, WIDTH), v.dtype)
        s[4, : hi - lo] = eta[lo:hi]
        for i in range(max(first - early, 0), stop):
            v_i, t_i = v[b, i, lo:hi], t[b, i, lo:hi]
            for c in range(hi - lo):
                s[2, c] = v_i[c] - t_i[c] * s[0, c]
                s[3, c] = s[4, c] + t_i[c] * s[1, c]
            for c in range(hi - lo):
                x, y = s[2, c], s[3, c]
                inverse = one / (x * x + y * y)
                s[0, c] = x * inverse
                s[1, c] = y * inverse
            if i >= first:
                k_re[b, i, lo:hi] = s[0, : hi - lo]
                k_im[b, i, lo:hi] = s[1, : hi - lo]
