"""The scans on CPUs, by the loops of the `numba_...` modules here; the functions
are those of `torch_scans`.

Few long sequences would leave cores idle. So where there are few tasks, the rows are cut into chunks that
start as early as it takes to forget the state before them (`forgetting`). Where chunks end depends on eta,
dtype and how many sequences and chains there are, not on the number of threads nor of rows: no row's bits
depend on these. What is not finite is remembered to the end of its chunk at least.

The scans that need not forget, `diagonal` and `transfer`, multiply the maps of chunks first: one more pass
over all rows. So they have chunks only where half of the threads or more would be idle, and their bits depend
on the number of threads in that way. What is not finite is remembered to the last row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import numba_convolution, numba_diagonal, numba_hopping, numba_transfer
from . import numba_kernels as kernels
from .forgetting import linear_run_up, ratio_run_up

_ROWS = 2048  # of a chunk, at least, for its task to be worth a thread
_PRODUCT_ROWS = 512  # of a chunk whose products are computed first
_TASKS = 16  # sequences times blocks of chains that occupy the cores without chunks


def _cut(shape: torch.Size, early: int | None) -> tuple[int, int]:
    """(rows of a chunk, rows it starts early), early at most an eighth of it; all rows in one otherwise."""
    batch, length, chains = shape
    if early is not None and batch * -(-chains // kernels.WIDTH) < _TASKS:
        rows = max(_ROWS, 1 << (8 * early - 1).bit_length())
        if rows < length:
            return rows, early
    return max(length, 1), 0


def _scan(
    kernel: Callable[..., None],
    inputs: tuple[Tensor, ...],
    outputs: int,
    early: int | None,
    eta: Tensor | None = None,
) -> list[Tensor]:
    """That many outputs like the first input, of an adjoint also the gradient of eta."""
    like = inputs[0]
    rows, early = _cut(like.shape, early)
    parts = [torch.empty(like.shape, dtype=like.dtype) for _ in range(outputs)]
    # float64, since it is summed over thousands of rows
    sums = torch.zeros(like.shape[0], -(-like.shape[1] // rows), like.shape[2], dtype=torch.float64)
    kernels.launch(kernel, *inputs, *parts, *([] if eta is None else [sums]), cut=(rows, early))
    return parts if eta is None else [*parts, sums.flatten(0, 1).sum(0).to(eta.dtype)]


def _early(eta: Tensor, *powers: int) -> int | None:
    """Rows that scans one after the other take to forget; power 0 is for ratios."""
    smallest = float(eta.min()) if eta.numel() else 1.0
    run_ups = [
        linear_run_up(smallest, eta.dtype, n) if n else ratio_run_up(smallest, eta.dtype) for n in powers
    ]
    return None if None in run_ups else sum(rows for rows in run_ups if rows)


def one_sided(potential: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    return tuple(_scan(kernels.one_sided, (potential, eta), 2, _early(eta, 0)))


def one_sided_adjoint(eta: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
    return tuple(_scan(kernels.one_sided_adjoint, saved, 1, _early(eta, 2), eta))


def two_sided(potential: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    return tuple(_scan(kernels.two_sided, (potential, eta), 6, _early(eta, 0)))


def two_sided_adjoint(eta: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
    potential_grad, *_, eta_grad = _scan(kernels.two_sided_adjoint, saved, 3, _early(eta, 2), eta)
    return potential_grad, eta_grad


def resolvent(potential: Tensor, eta: Tensor, u: Tensor) -> tuple[Tensor, ...]:
    return tuple(_scan(kernels.resolvent, (potential, eta, u), 4, _early(eta, 0, 1)))


def resolvent_adjoint(eta: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
    potential_grad, u_grad, eta_grad = _scan(kernels.resolvent_adjoint, saved, 2, _early(eta, 1, 2), eta)
    return potential_grad, eta_grad, u_grad


def _starts(
    products: Callable[..., None],
    scan: Callable[[Tensor, Tensor], Tensor],
    factors: tuple[Tensor, ...],
    x: Tensor,
    up: bool = False,
) -> tuple[Tensor, int]:
    """(states that chunks begin with (B, chunks, ..., C), rows of a chunk): a chunk is a row of `scan`, which
    has its `products`."""
    batch, length, chains = factors[0].shape
    few = 2 * batch * -(-chains // kernels.WIDTH) <= torch.get_num_threads()
    rows = _PRODUCT_ROWS if few and length > _PRODUCT_ROWS else max(length, 1)
    start = x.new_zeros(batch, -(-length // rows), *x.shape[2:])
    if start.shape[1] > 1:
        p, last = torch.empty_like(start), torch.empty_like(start)
        kernels.launch(products, *factors, x, p, last, cut=(rows, up))
        if up:
            p, last = p.flip(1), last.flip(1)
        start[:, 1:] = scan(p[:, :-1], last[:, :-1])
    return (start.flip(1) if up else start), rows


def hopping(potential: Tensor, eta: Tensor, t: Tensor) -> tuple[Tensor, ...]:
    return tuple(_scan(numba_hopping.hopping, (potential, eta, t), 2, _early(eta, 0)))


def diagonal(f: Tensor, x: Tensor) -> Tensor:
    h = torch.empty(x.shape, dtype=x.dtype)
    start, rows = _starts(numba_diagonal.diagonal_products, diagonal, (f,), x)
    kernels.launch(numba_diagonal.diagonal, f, x, start, h, cut=(rows,))
    return h


def diagonal_adjoint(f: Tensor, h: Tensor, out: Tensor) -> tuple[Any, ...]:
    f_grad, x_grad = (torch.empty(h.shape, dtype=h.dtype) for _ in range(2))
    start, rows = _starts(numba_diagonal.diagonal_products, diagonal, (f,), out, up=True)
    kernels.launch(numba_diagonal.diagonal_adjoint, f, h, out, start, f_grad, x_grad, cut=(rows,))
    return f_grad, x_grad


def _apart(weight: Tensor) -> Tensor:
    """A copy: numpy would pin the memory of a weight, which FSDP frees after each layer."""
    return weight.clone()


def convolution(x: Tensor, weight: Tensor) -> Tensor:
    y = torch.empty(x.shape, dtype=x.dtype)
    kernels.launch(numba_convolution.convolution, x, _apart(weight), y)
    return y


def convolution_adjoint(x: Tensor, weight: Tensor, out: Tensor) -> tuple[Any, ...]:
    x_grad = torch.empty(x.shape, dtype=x.dtype)
    blocks = -(-x.shape[1] // kernels.ROWS)
    weight_grad = torch.zeros(x.shape[0] * blocks, *weight.shape, dtype=x.dtype)
    kernels.launch(numba_convolution.convolution_adjoint, x, _apart(weight), out, x_grad, weight_grad)
    return x_grad, weight_grad.sum(0)


def _without_gate(q: Tensor, x: Tensor) -> Tensor:
    return transfer(torch.ones_like(q[:, :, 0]), q, x)


def transfer(f: Tensor, q: Tensor, x: Tensor) -> Tensor:
    y = torch.empty(x.shape, dtype=x.dtype)
    start, rows = _starts(numba_transfer.transfer_products, _without_gate, (f, q), x)
    kernels.launch(numba_transfer.transfer, f, q, x, start, y, cut=(rows,))
    return y


def transfer_adjoint(f: Tensor, q: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, ...]:
    gradients = tuple(torch.empty(z.shape, dtype=z.dtype) for z in (f, q, y))
    start, rows = _starts(numba_transfer.transfer_products, _without_gate, (f, q), out, up=True)
    kernels.launch(numba_transfer.transfer_adjoint, f, q, y, out, start, *gradients, cut=(rows,))
    return gradients
