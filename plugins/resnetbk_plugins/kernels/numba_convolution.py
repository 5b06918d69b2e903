# mypy: allow-untyped-defs
"""The short causal convolution as numba loops (CPU), a task for ROWS rows of a sequence."""

from __future__ import annotations

from .numba_kernels import ROWS, compiled, prange


@compiled
def convolution(x, weight, y):
    batch, length, channels = x.shape
    size, blocks = len(weight), (length + ROWS - 1) // ROWS
    for task in prange(batch * blocks):
        b, lo = task // blocks, task % blocks * ROWS
        for i in range(lo, min(lo + ROWS, length)):
            y_i = y[b, i]
            y_i[:] = 0
            for k in range(max(0, size - 1 - i), size):
                x_k, weight_k = x[b, i - size + 1 + k], weight[k]
                for c in range(channels):
                    y_i[c] += x_k[c] * weight_k[c]


@compiled
def convolution_adjoint(x, weight, out, x_grad, weight_grad):
    batch, length, channels = x.shape
    size, blocks = len(weight), (length + ROWS - 1) // ROWS
    for task in prange(batch * blocks):
        b, lo = task // blocks, task % blocks * ROWS
        for i in range(lo, min(lo + ROWS, length)):
            grad = x_grad[b, i]
            grad[:] = 0
            for k in range(max(0, size + i - length), size):
                out_k, weight_k = out[b, i + size - 1 - k], weight[k]
                for c in range(channels):
                    grad[c] += out_k[c] * weight_k[c]
            out_i = out[b, i]
            for k in range(max(0, size - 1 - i), size):
                x_k, total = x[b, i - size + 1 + k], weight_grad[task, k]
                for c in range(channels):
                    total[c] += out_i[c] * x_k[c]
