from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from resnetbk_plugins.kernels import one_sided, one_sided_step

EXAMPLES = settings(max_examples=200 if os.environ.get("CI") else 50, deadline=None)


def chains(
    seed: int,
    shape: tuple[int, int, int],
    device: str,
    disorder: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    potential = disorder * torch.randn(shape, generator=generator, dtype=dtype)
    eta = 0.05 + 2 * torch.rand(shape[2], generator=generator, dtype=dtype)
    return potential.to(device), eta.to(device)


def by_steps(potential: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
    rows = [(torch.zeros_like(potential[:, 0]), torch.zeros_like(potential[:, 0]))]
    for row in potential.unbind(1):
        rows.append(one_sided_step(row, eta, *rows[-1]))
    return torch.stack([g[0] for g in rows[1:]], 1), torch.stack([g[1] for g in rows[1:]], 1)


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    length=st.integers(1, 64),
    disorder=st.sampled_from([0.0, 0.3, 1.0, 3.0, 100.0]),
)
def test_is_the_last_diagonal_element_of_every_leading_block(device, dense, seed, length, disorder):
    potential, eta = chains(seed, (2, length, 3), device, disorder)
    g = torch.complex(*one_sided(potential, eta)).cpu()
    for chain in range(3):
        matrix = dense(potential[1, :, chain], eta[chain])
        for i in {0, length // 2, length - 1}:
            expected = torch.linalg.inv(matrix[: i + 1, : i + 1])[i, i]
            assert abs(g[1, i, chain] - expected) < 1e-10


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (1, 9, 2)])
def test_gradients_of_potential_and_eta(device, shape):
    potential, eta = chains(3, shape, device)
    assert torch.autograd.gradcheck(one_sided, (potential.requires_grad_(), eta.requires_grad_()))


def test_gradients_across_chunks(device):
    potential, eta = chains(4, (1, 400, 2), device)
    inputs = (potential.requires_grad_(), (eta + 0.8).detach().requires_grad_())
    out = [torch.randn(1, 400, 2, dtype=torch.float64, device=device) for _ in range(2)]
    gradients = torch.autograd.grad(one_sided(*inputs), inputs, out)
    expected = torch.autograd.grad(by_steps(*inputs), inputs, out)
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("disorder", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("eta", [1e-6, 1e-2, 1e3])
def test_stays_in_the_half_plane_and_below_one_over_eta(device, disorder, eta):
    potential, _ = chains(5, (2, 500, 4), device, disorder, torch.float32)
    potential.requires_grad_()
    eta = torch.full((4,), eta, device=device)
    g_real, g_imag = one_sided(potential, eta)
    assert (g_imag >= 0).all()
    assert (torch.hypot(g_real, g_imag) <= (1 + 1e-6) / eta).all()
    (gradient,) = torch.autograd.grad(g_real.sum() + g_imag.sum(), potential)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_later_rows_change_not_one_bit(device, dtype):
    potential, eta = chains(6, (2, 301, 5), device, dtype=dtype)
    eta += 0.5
    before = one_sided(potential, eta)
    for i in (0, 1, 77, 150, 299):
        changed = potential.clone()
        changed[:, i + 1 :] = 7 * torch.randn_like(changed[:, i + 1 :])
        for a, b in zip(before, one_sided(changed, eta), strict=True):
            assert torch.equal(a[:, : i + 1], b[:, : i + 1])
            assert not torch.equal(a[:, i + 1 :], b[:, i + 1 :])


def test_batch_rows_change_not_one_bit_of_each_other(device):
    potential, eta = chains(7, (3, 301, 5), device, dtype=torch.float32)
    eta += 0.5
    changed = potential.clone()
    changed[1] *= 100
    for a, b in zip(one_sided(potential, eta), one_sided(changed, eta), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])


def test_streaming_gives_the_same_rows(device):
    potential, eta = chains(8, (2, 257, 4), device, dtype=torch.float32)
    eta += 0.2
    for a, b in zip(one_sided(potential, eta), by_steps(potential, eta), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3), (2, 4, 0)])
def test_nothing_in_nothing_out(device, shape):
    potential, eta = (
        torch.zeros(shape, device=device, requires_grad=True),
        torch.ones(shape[2], device=device),
    )
    g_real, g_imag = one_sided(potential, eta)
    assert g_real.shape == g_imag.shape == shape
    (g_real.sum() + g_imag.sum()).backward()
    assert potential.grad.shape == shape


def test_strides_do_not_matter(device):
    potential, eta = chains(9, (3, 40, 8), device)
    strided, strided_eta = potential.transpose(0, 2), torch.stack([eta[:3], eta[:3]], 1)[:, 0]
    out = torch.randn(1, device=device, dtype=torch.float64).expand(8, 40, 3)
    results = []
    for inputs in [(strided, strided_eta), (strided.contiguous(), strided_eta.contiguous())]:
        inputs = tuple(x.detach().requires_grad_() for x in inputs)
        g = one_sided(*inputs)
        results.append([*g, *torch.autograd.grad(g, inputs, (out, out))])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


# opcheck reads .grad of non-leaf tensors, about which newer versions warn
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 2), (2, 200, 3)])
def test_is_a_sound_custom_op(device, shape):
    potential, eta = chains(10, shape, device)
    inputs = (potential.requires_grad_(), (eta + 1).detach().requires_grad_())
    torch.library.opcheck(torch.ops.resnetbk.one_sided, inputs)
    saved = [x.detach() for x in (inputs[1], *one_sided(*inputs), *inputs[:1] * 2)]
    torch.library.opcheck(torch.ops.resnetbk.one_sided_adjoint, tuple(saved))


def test_counts_its_flops(device):
    potential, eta = chains(11, (2, 5, 3), device)
    with FlopCounterMode(display=False) as counter:
        g_real, _ = one_sided(potential.requires_grad_(), eta)
        g_real.sum().backward()
    assert counter.get_total_flops() == (8 + 14) * 2 * 5 * 3


@pytest.mark.parametrize(
    ("potential", "eta", "message"),
    [
        (torch.zeros(2, 3), torch.ones(3), "must be"),
        (torch.zeros(2, 3, 4), torch.ones(3), "must be"),
        (torch.zeros(2, 3, 4, dtype=torch.bfloat16), torch.ones(4), "float32 or float64"),
        (torch.zeros(2, 3, 4), torch.ones(4, dtype=torch.float64), "eta must be torch.float32"),
    ],
)
def test_refuses_what_it_cannot_run(potential, eta, message):
    with pytest.raises(ValueError, match=message):
        one_sided(potential, eta)
