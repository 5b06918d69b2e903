"""The scans in plain torch, on any device: real tensors (B, N, C) in and out, eta (C,), no complex numbers.

The recurrences run in chunks of rows (`chunks`), whose length depends on eta (`forgetting`). The adjoints are
linear scans too; their formulas are with the operators (`one_sided`, `two_sided`, `resolvent`, `transfer`).
Nothing bounds what the last two remember: the diagonal recurrence has chunks of its own; the scan of
quaternions, (..., 4, C), takes log N passes, each over half as many rows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .chunks import Chunks, Pair
from .forgetting import linear_run_up, ratio_run_up

Four = tuple[Tensor, Tensor, Tensor, Tensor]

_ROWS = 32  # of a chunk of the diagonal recurrence


def _smallest(eta: Tensor) -> float:
    return float(eta.min()) if eta.numel() else 1.0


def _ratios(potential: Tensor, eta: Tensor, up: bool = False, t: Tensor | None = None) -> Pair:
    """1 / (potential_i - i eta - t_i g_{i-1}), t = 1 without one."""
    chunks = Chunks(potential.shape, ratio_run_up(_smallest(eta), potential.dtype), up)
    real, imag = chunks.ratios(potential, eta) if t is None else chunks.hopping(potential, eta, t)
    # where a square overflows, the loops give inf or NaN; complex reciprocals do not, and chunks forget it
    if _finite(potential, real * real + imag * imag):
        return real, imag
    return _row_by_row(potential, eta, up, torch.ones_like(potential) if t is None else t)


def _row_by_row(potential: Tensor, eta: Tensor, up: bool, t: Tensor) -> Pair:
    """The ratios with the arithmetic of the loops."""
    inputs, rows = list(zip(potential.unbind(1), t.unbind(1), strict=True)), []
    g = (torch.zeros_like(potential[:, 0]),) * 2
    for row, t_i in reversed(inputs) if up else inputs:
        g = ratio_step(row, eta, t_i * g[0], t_i * g[1])
        rows.append(g)
    real, imag = zip(*(reversed(rows) if up else rows), strict=True)
    return torch.stack(real, 1), torch.stack(imag, 1)


def _linear(g: Pair, x: Pair, eta: Tensor, power: int, up: bool = False) -> Pair:
    """s_i = g_i ** power (x_i + s_{i-1}), power 1 or 2."""
    run_up = linear_run_up(_smallest(eta), eta.dtype, power)
    factor = g if power == 1 else _product(g, g)
    s = Chunks(x[0].shape, run_up, up).linear(factor, x)
    # in one chunk, what is not finite is never forgotten
    return s if _finite(*s) else Chunks(x[0].shape, None, up).linear(factor, x)


def _finite(*parts: Tensor) -> bool:
    """Whether all numbers are finite, and their sum is."""
    return all(bool(part.sum().isfinite()) for part in parts)


def _product(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _sum(*terms: Pair) -> Pair:
    real, imag = zip(*terms, strict=True)
    return sum(real[1:], real[0]), sum(imag[1:], imag[0])


def _later(x: Pair) -> Pair:
    """x_{i+1} at row i, 0 at the last."""
    return _shifted(x, slice(1, None), (0, 0, 0, 1))


def _earlier(x: Pair) -> Pair:
    return _shifted(x, slice(-1), (0, 0, 1, 0))


def _shifted(x: Pair, rows: slice, fill: tuple[int, ...]) -> Pair:
    return (pad(x[0][:, rows], fill), pad(x[1][:, rows], fill)) if x[0].shape[1] else x


def _gradients(carried: Pair) -> Pair:
    """From conj(dL/da) = -carried to the gradients of potential and eta, a = potential - i eta."""
    return -carried[0], carried[1].sum((0, 1))


def ratio_step(potential: Tensor, eta: Tensor, g_real: Tensor, g_imag: Tensor) -> Pair:
    """One row, 1 / (potential - i eta - g): bitwise equal to the numba loop."""
    across, down = potential - g_real, eta + g_imag
    inverse = (across * across + down * down).reciprocal()
    return across * inverse, down * inverse


def one_sided(potential: Tensor, eta: Tensor) -> Pair:
    return _ratios(potential, eta)


def one_sided_adjoint(
    eta: Tensor, g_real: Tensor, g_imag: Tensor, out_real: Tensor, out_imag: Tensor
) -> Pair:
    return _gradients(_linear((g_real, -g_imag), (out_real, out_imag), eta, power=2, up=True))


def hopping(potential: Tensor, eta: Tensor, t: Tensor) -> Pair:
    return _ratios(potential, eta, t=t)


def two_sided(potential: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    left, right = _ratios(potential, eta), _ratios(potential, eta, up=True)
    diagonal = ratio_step(potential, eta, *_sum(_earlier(left), _later(right)))
    return *diagonal, *left, *right


def two_sided_adjoint(
    eta: Tensor,
    diagonal_real: Tensor,
    diagonal_imag: Tensor,
    left_real: Tensor,
    left_imag: Tensor,
    right_real: Tensor,
    right_imag: Tensor,
    out_real: Tensor,
    out_imag: Tensor,
) -> Pair:
    out = out_real, out_imag
    from_before = _earlier(_linear((left_real, -left_imag), out, eta, power=2))
    from_behind = _later(_linear((right_real, -right_imag), out, eta, power=2, up=True))
    diagonal = diagonal_real, -diagonal_imag
    return _gradients(_product(_product(diagonal, diagonal), _sum(out, from_before, from_behind)))


def resolvent(potential: Tensor, eta: Tensor, u: Tensor) -> Four:
    g = _ratios(potential, eta)
    y = _linear(g, (u, torch.zeros_like(u)), eta, power=1)
    return *y, *g


def resolvent_adjoint(
    eta: Tensor,
    y_real: Tensor,
    y_imag: Tensor,
    g_real: Tensor,
    g_imag: Tensor,
    y_out_real: Tensor,
    y_out_imag: Tensor,
    g_out_real: Tensor,
    g_out_imag: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    g = g_real, -g_imag
    back = _linear(g, (y_out_real, y_out_imag), eta, power=1, up=True)
    own = _product((y_real, -y_imag), back)
    inflow = _sum((g_out_real, g_out_imag), _later(own))
    return *_gradients(_sum(own, _linear(g, inflow, eta, power=2, up=True))), back[0]


def diagonal(f: Tensor, x: Tensor) -> Tensor:
    """All chunks at once, each from state 0; the states after chunks are such a recurrence again."""
    batch, length, channels = x.shape
    rows = min(_ROWS, max(length, 1))
    chunks = -(-length // rows)
    product, h = (x.new_zeros(batch, chunks, rows, channels) for _ in range(2))
    product.flatten(1, 2)[:, :length] = f
    h.flatten(1, 2)[:, :length] = x
    state, factor = torch.zeros_like(h[:, :, 0]), torch.ones_like(h[:, :, 0])
    for f_i, h_i in zip(product.unbind(2), h.unbind(2), strict=True):
        h_i += f_i * state
        f_i *= factor
        state, factor = h_i, f_i
    if chunks > 1:
        h[:, 1:] += product[:, 1:] * diagonal(factor[:, :-1], state[:, :-1])[:, :, None]
    return h.flatten(1, 2)[:, :length].contiguous()


def diagonal_adjoint(f: Tensor, h: Tensor, out: Tensor) -> Pair:
    later, f_grad = torch.zeros_like(f), torch.zeros_like(f)
    later[:, :-1] = f[:, 1:]
    x_grad = diagonal(later.flip(1), out.flip(1)).flip(1)
    f_grad[:, 1:] = x_grad[:, 1:] * h[:, :-1]
    return f_grad, x_grad


def convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Sums from the oldest row on, as the numba loop and the streaming step do."""
    size, rows = weight.shape[0], x.shape[1]
    padded = pad(x, (0, 0, size - 1, 0))
    y = padded[:, :rows] * weight[0]
    for k in range(1, size):
        y += padded[:, k : k + rows] * weight[k]
    return y


def convolution_adjoint(x: Tensor, weight: Tensor, out: Tensor) -> Pair:
    size, rows = weight.shape[0], x.shape[1]
    padded, later = pad(x, (0, 0, size - 1, 0)), pad(out, (0, 0, 0, size - 1))
    x_grad = later[:, size - 1 :] * weight[0]
    for k in range(1, size):
        x_grad += later[:, size - 1 - k : size - 1 - k + rows] * weight[k]
    return x_grad, torch.stack([(padded[:, k : k + rows] * out).sum((0, 1)) for k in range(size)])


def quaternion_product(a: Tensor, b: Tensor) -> Tensor:
    """(..., 4, C) each, with the arithmetic of the numba loop."""
    a0, a1, a2, a3 = a.unbind(-2)
    b0, b1, b2, b3 = b.unbind(-2)
    return torch.stack(
        (
            a0 * b0 - a1 * b1 - a2 * b2 - a3 * b3,
            a0 * b1 + a1 * b0 + a2 * b3 - a3 * b2,
            a0 * b2 - a1 * b3 + a2 * b0 + a3 * b1,
            a0 * b3 + a1 * b2 - a2 * b1 + a3 * b0,
        ),
        -2,
    )


def _conjugate(q: Tensor) -> Tensor:
    return torch.cat((q[..., :1, :], -q[..., 1:, :]), -2)


def _quaternions(q: Tensor, x: Tensor) -> Tensor:
    """y_i = y_{i-1} q_i + x_i. Pairs of rows are rows of a scan half as long: it gives every second y."""
    if x.shape[1] < 2:
        return x.clone()
    first, second = slice(0, x.shape[1] - 1, 2), slice(1, None, 2)
    pairs = _quaternions(
        quaternion_product(q[:, first], q[:, second]),
        quaternion_product(x[:, first], q[:, second]) + x[:, second],
    )
    y = torch.empty_like(x)
    y[:, second] = pairs
    y[:, :1] = x[:, :1]
    y[:, 2::2] = quaternion_product(y[:, 1:-1:2], q[:, 2::2]) + x[:, 2::2]
    return y


def transfer(f: Tensor, q: Tensor, x: Tensor) -> Tensor:
    q = f[:, :, None] * q
    # 0 q_0, which is not 0 where q_0 is not finite
    start = (x[:, :1] + (0.0 * q[:, :1]).sum(2, keepdim=True), x[:, 1:])
    return _quaternions(q, torch.cat(start, 1))


def transfer_adjoint(f: Tensor, q: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = max(f.shape[1] - 1, 0)
    no_row = q.new_zeros(f.shape[0], f.shape[1] - rows, *q.shape[2:])
    back = torch.cat((_conjugate(f[:, 1:, None] * q[:, 1:]), no_row), 1)
    x_grad = _quaternions(back.flip(1), out.flip(1)).flip(1)
    h = quaternion_product(torch.cat((no_row, _conjugate(y[:, :rows])), 1), x_grad)
    return (q * h).sum(2), f[:, :, None] * h, x_grad
