"""The scans on CUDA devices, by triton kernels; the functions are those of `torch_scans`.

No call waits for the device. Results repeat to the bit: sums over rows are partial sums per program, added up
in float64 in one order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from .triton_convolution import convolution as convolution_kernel
from .triton_convolution import convolution_adjoint as convolution_adjoint_kernel
from .triton_diagonal import diagonal_products, diagonal_scan
from .triton_linear import linear_products, linear_scan
from .triton_ratios import ratio_products, ratio_scan
from .triton_transfer import transfer_adjoint as transfer_adjoint_kernel
from .triton_transfer import transfer_products, transfer_scan

Pair = tuple[Tensor, Tensor]
Four = tuple[Tensor, Tensor, Tensor, Tensor]

ROWS = 64  # of a chunk: few enough to fill the device, more than the run-up of usual eta
BLOCK = 128  # chains per program, at most: one warp, four chains per lane


def _launch(kernel: Any, shape: torch.Size, tensors: tuple[Tensor | None, ...], **flags: Any) -> None:
    """One program for each sequence, chunk of rows and block of chains, none if there are no numbers."""
    batch, length, chains = shape
    block = min(BLOCK, max(32, triton.next_power_of_2(chains)))
    grid = (batch * triton.cdiv(length, ROWS), triton.cdiv(chains, block))
    flags |= {"ROWS": ROWS, "BLOCK": block, "num_warps": 1, "enable_fp_fusion": True}
    if shape.numel():
        with torch.cuda.device_of(tensors[0]):
            kernel[grid](*tensors, length, chains, **flags)


def _chunks(like: Tensor, quantities: int) -> Tensor:
    """An empty buffer with some quantities per chunk of rows and chain."""
    batch, length, chains = like.shape
    return like.new_empty(batch, triton.cdiv(length, ROWS), quantities, chains)


def _ratios(
    v: Tensor, eta: Tensor, left: Pair | None = None, *, t: Tensor | None = None, up: bool = False
) -> tuple[Tensor, ...]:
    """The ratios, real and imaginary part; with those from the left, also the two-sided diagonal."""
    parts = [torch.empty_like(v) for _ in range(4 if left else 2)]
    products = _chunks(v, 8)
    if products.shape[1] > 1:
        _launch(ratio_products, v.shape, (v, eta, t, products), UP=up)
    outputs = (*parts[:2], *(left or (None, None)), *(parts[2:] or (None, None)))
    _launch(ratio_scan, v.shape, (v, eta, t, products, *outputs), UP=up)
    return tuple(parts)


def _linear(
    eta: Tensor,
    g: Pair,
    x: tuple[Tensor, Tensor | None],
    outputs: Pair,
    *,
    own: tuple[Tensor | None, ...] = (None,) * 4,
    two_sided: tuple[Tensor | None, ...] = (None,) * 4,
    **flags: Any,
) -> None:
    """One linear scan; the flags are those of both kernels, GRADIENT is for the second."""
    gradient = flags.pop("GRADIENT", False)
    inputs = (*g, *x, *own)
    products = _chunks(g[0], 4)
    if products.shape[1] > 1:
        _launch(linear_products, g[0].shape, (eta, products, *inputs), **flags)
    tensors = (eta, products, *inputs, *two_sided, *outputs)
    _launch(linear_scan, g[0].shape, tensors, **flags, GRADIENT=gradient)


def _gradients(eta: Tensor, g: Pair, out: Pair, **others: Any) -> Pair:
    """Those of the potential and of eta, by a scan upwards."""
    potential_grad, sums = torch.empty_like(g[0]), _chunks(g[0], 1)
    _linear(eta, g, out, (potential_grad, sums), **others, POWER=2, CONJUGATE=True, UP=True, GRADIENT=True)
    return potential_grad, sums.sum((0, 1, 2), dtype=torch.float64).to(eta.dtype)


def _contiguous(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() for x in tensors)


def one_sided(potential: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    potential, eta = _contiguous(potential, eta)
    return _ratios(potential, eta)


def one_sided_adjoint(eta: Tensor, *saved: Tensor) -> Pair:
    eta, g_real, g_imag, out_real, out_imag = _contiguous(eta, *saved)
    return _gradients(eta, (g_real, g_imag), (out_real, out_imag))


def two_sided(potential: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    potential, eta = _contiguous(potential, eta)
    left_real, left_imag = _ratios(potential, eta)
    right_real, right_imag, *diagonal = _ratios(potential, eta, (left_real, left_imag), up=True)
    return *diagonal, left_real, left_imag, right_real, right_imag


def two_sided_adjoint(eta: Tensor, *saved: Tensor) -> Pair:
    eta, d_real, d_imag, left_real, left_imag, right_real, right_imag, *rest = _contiguous(eta, *saved)
    out = rest[0], rest[1]
    before = torch.empty_like(d_real), torch.empty_like(d_real)
    _linear(eta, (left_real, left_imag), out, before, POWER=2, CONJUGATE=True, UP=False)
    return _gradients(eta, (right_real, right_imag), out, two_sided=(d_real, d_imag, *before))


def resolvent(potential: Tensor, eta: Tensor, u: Tensor) -> tuple[Tensor, ...]:
    potential, eta, u = _contiguous(potential, eta, u)
    g_real, g_imag = _ratios(potential, eta)
    y = torch.empty_like(u), torch.empty_like(u)
    _linear(eta, (g_real, g_imag), (u, None), y, POWER=1, CONJUGATE=False, UP=False)
    return *y, g_real, g_imag


def resolvent_adjoint(eta: Tensor, *saved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    eta, y_real, y_imag, g_real, g_imag, y_out_real, y_out_imag, *g_out = _contiguous(eta, *saved)
    g = g_real, g_imag
    back = torch.empty_like(g_real), torch.empty_like(g_real)
    _linear(eta, g, (y_out_real, y_out_imag), back, POWER=1, CONJUGATE=True, UP=True)
    gradients = _gradients(eta, g, (g_out[0], g_out[1]), own=(y_real, y_imag, *back))
    return *gradients, back[0]


def hopping(potential: Tensor, eta: Tensor, t: Tensor) -> tuple[Tensor, ...]:
    potential, eta, t = _contiguous(potential, eta, t)
    return _ratios(potential, eta, t=t)


def _diagonal(f: Tensor, x: Tensor, h: Tensor | None = None, *, up: bool = False) -> list[Tensor]:
    """The states; with h, upwards, also the gradient of f."""
    parts = [torch.empty_like(x) for _ in range(1 if h is None else 2)]
    after = None
    product, added = _chunks(x, 1)[:, :, 0], _chunks(x, 1)[:, :, 0]
    if added.shape[1] > 1:
        _launch(diagonal_products, x.shape, (f, x, product, added), UP=up)
        (after,) = _diagonal(product, added, up=up)
    _launch(diagonal_scan, x.shape, (f, x, after, h, parts[0], parts[-1]), UP=up)
    return parts


def diagonal(f: Tensor, x: Tensor) -> Tensor:
    return _diagonal(*_contiguous(f, x))[0]


def diagonal_adjoint(f: Tensor, h: Tensor, out: Tensor) -> Pair:
    f, h, out = _contiguous(f, h, out)
    x_grad, f_grad = _diagonal(f, out, h, up=True)
    return f_grad, x_grad


def _between(q: Tensor, f: Tensor | None, x: Tensor, *, adjoint: bool = False) -> Tensor | None:
    """The states after each chunk (B, chunks, 4, C), of the adjoint from the last on; None for one chunk."""
    batch, length, _, chains = q.shape
    chunks = triton.cdiv(length, ROWS)
    if chunks < 2:
        return None
    products, ends = q.new_empty(2, batch, chunks, 4, chains)
    _launch(transfer_products, q[:, :, 0].shape, (q, f, x, products, ends), ADJOINT=adjoint)
    return _quaternions(products, None, ends)


def _quaternions(q: Tensor, f: Tensor | None, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    _launch(transfer_scan, q[:, :, 0].shape, (q, f, x, _between(q, f, x), y))
    return y


def transfer(f: Tensor, q: Tensor, x: Tensor) -> Tensor:
    f, q, x = _contiguous(f, q, x)
    return _quaternions(q, f, x)


def transfer_adjoint(f: Tensor, q: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    f, q, y, out = _contiguous(f, q, y, out)
    gradients = torch.empty_like(f), torch.empty_like(q), torch.empty_like(y)
    between = _between(q, f, out, adjoint=True)
    _launch(transfer_adjoint_kernel, f.shape, (q, f, y, out, between, *gradients))
    return gradients


def convolution(x: Tensor, weight: Tensor) -> Tensor:
    x, weight = _contiguous(x, weight)
    y = torch.empty_like(x)
    _launch(convolution_kernel, x.shape, (x, weight, y), **_taps(weight))
    return y


def convolution_adjoint(x: Tensor, weight: Tensor, out: Tensor) -> Pair:
    x, weight, out = _contiguous(x, weight, out)
    x_grad, sums = torch.empty_like(x), _chunks(x, len(weight))
    _launch(convolution_adjoint_kernel, x.shape, (x, weight, out, x_grad, sums), **_taps(weight))
    return x_grad, sums.sum((0, 1), dtype=torch.float64).to(x.dtype)


def _taps(weight: Tensor) -> dict[str, int]:
    size = len(weight)
    return {"SIZE": size, "TAPS": triton.next_power_of_2(size)}
