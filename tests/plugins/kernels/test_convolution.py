from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from resnetbk_plugins.kernels import causal_convolution


def drawn(*shape: int, seed: int = 0, device: str = "cpu") -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device)


def toeplitz(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """(D, N, N): the matrix that the convolution of each channel is."""
    size, channels = weight.shape
    matrix = torch.zeros(channels, rows, rows, dtype=weight.dtype)
    for i in range(rows):
        for k in range(size):
            if i - size + 1 + k >= 0:
                matrix[:, i, i - size + 1 + k] = weight[k].cpu()
    return matrix


@given(
    batch=st.integers(1, 3),
    rows=st.integers(1, 130),
    channels=st.integers(1, 9),
    size=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=50)
def test_is_a_banded_matrix_and_its_adjoint_the_transpose(device, batch, rows, channels, size, seed):
    x = drawn(batch, rows, channels, seed=seed, device=device).requires_grad_()
    weight = drawn(size, channels, seed=seed + 1, device=device).requires_grad_()
    out = drawn(batch, rows, channels, seed=seed + 2, device=device)
    y = causal_convolution(x, weight)
    matrix = toeplitz(weight.detach(), rows)
    torch.testing.assert_close(y.detach().cpu(), torch.einsum("dij,bjd->bid", matrix, x.detach().cpu()))
    x_grad, weight_grad = torch.autograd.grad(y, (x, weight), out)
    torch.testing.assert_close(x_grad.cpu(), torch.einsum("dij,bid->bjd", matrix, out.cpu()))
    for k in range(size):
        back = size - 1 - k
        terms = out[:, back:] * x.detach()[:, : max(0, rows - back)]
        torch.testing.assert_close(weight_grad[k], terms.sum((0, 1)))


@pytest.mark.parametrize("shape", [(2, 5, 3), (1, 1, 1), (1, 70, 2)])
def test_gradients(device, shape):
    x, weight = drawn(*shape, device=device), drawn(4, shape[2], seed=1, device=device)
    assert torch.autograd.gradcheck(causal_convolution, (x.requires_grad_(), weight.requires_grad_()))


def test_later_rows_and_other_sequences_change_not_one_bit(device):
    x, weight = drawn(2, 150, 5, device=device).float(), drawn(4, 5, seed=1, device=device).float()
    y = causal_convolution(x, weight)
    changed = x.clone()
    changed[0, 70:] = 1e9
    changed[1] = torch.nan
    assert torch.equal(causal_convolution(changed, weight)[0, :70], y[0, :70])
    assert torch.equal(causal_convolution(x[:1, :70], weight), y[:1, :70])


def test_nothing_in_nothing_out(device):
    for shape in ((0, 3, 2), (2, 0, 2)):
        x = torch.zeros(shape, device=device, requires_grad=True)
        weight = torch.ones(4, 2, device=device, requires_grad=True)
        y = causal_convolution(x, weight)
        assert y.shape == shape
        _, weight_grad = torch.autograd.grad(y.sum(), (x, weight))
        assert bool((weight_grad == 0).all())


def test_flops_are_counted():
    x, weight = drawn(2, 5, 3).requires_grad_(), drawn(4, 3).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        causal_convolution(x, weight).sum().backward()
    assert counter.get_total_flops() == 6 * 4 * 2 * 5 * 3


@pytest.mark.parametrize(
    ("x", "weight", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(4, 3), "must be \\(B, N, D\\)"),
        (torch.zeros(1, 2, 3), torch.zeros(4, 2), "must be \\(B, N, D\\)"),
        (torch.zeros(1, 2, 3).bfloat16(), torch.zeros(4, 3).bfloat16(), "float32 or float64"),
        (torch.zeros(1, 2, 3), torch.zeros(4, 3).double(), "alike"),
    ],
)
def test_what_does_not_fit_is_refused(x, weight, message):
    with pytest.raises(ValueError, match=message):
        causal_convolution(x, weight)
