from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from resnetbk_plugins.kernels import two_sided

EXAMPLES = settings(max_examples=200 if os.environ.get("CI") else 50, deadline=None)
DISORDER = st.sampled_from([0.0, 0.3, 1.0, 3.0, 100.0])


def chains(
    seed: int, shape: tuple[int, int, int], device: str, disorder: float = 1.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    potential = disorder * torch.randn(shape, generator=generator, dtype=torch.float64)
    eta = 0.05 + 2 * torch.rand(shape[2], generator=generator, dtype=torch.float64)
    return potential.to(device), eta.to(device)


@EXAMPLES
@given(seed=st.integers(0, 2**31), length=st.integers(1, 64), disorder=DISORDER)
def test_is_the_diagonal_of_the_inverse(device, dense, seed, length, disorder):
    potential, eta = chains(seed, (2, length, 3), device, disorder)
    diagonal = torch.complex(*two_sided(potential, eta)).cpu()
    for chain in range(3):
        expected = torch.linalg.inv(dense(potential[1, :, chain], eta[chain])).diagonal()
        assert (diagonal[1, :, chain] - expected).abs().max() < 1e-10


@EXAMPLES
@given(seed=st.integers(0, 2**31), length=st.integers(1, 64), disorder=DISORDER)
def test_gradient_reaches_every_row(device, dense, seed, length, disorder):
    """dG_ii / dv_j = -G_ij G_ji for all i and j at once: batch row i asks for the gradient of G_ii."""
    potential, eta = chains(seed, (1, length, 1), device, disorder)
    eta += 0.2
    copies = potential.expand(length, length, 1).clone().requires_grad_()
    identity = torch.eye(length, dtype=torch.float64, device=device)[..., None]
    diagonal = two_sided(copies, eta)
    parts = [torch.autograd.grad(x, copies, identity, retain_graph=True)[0][..., 0] for x in diagonal]
    inverse = torch.linalg.inv(dense(potential[0, :, 0], eta[0]))
    assert (torch.complex(*parts).cpu() + inverse * inverse.T).abs().max() < 1e-9


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 6, 3)])
def test_gradients_of_potential_and_eta(device, shape):
    potential, eta = chains(3, shape, device)
    assert torch.autograd.gradcheck(two_sided, (potential.requires_grad_(), eta.requires_grad_()))


def test_stays_below_one_over_eta(device):
    potential = torch.randn(2, 500, 3, device=device) * torch.tensor([0.0, 1.0, 1e6], device=device)
    potential.requires_grad_()
    eta = torch.full((3,), 1e-4, device=device)
    real, imag = two_sided(potential, eta)
    assert (torch.hypot(real, imag) <= (1 + 1e-5) / eta).all()
    (gradient,) = torch.autograd.grad(real.sum() + imag.sum(), potential)
    assert gradient.isfinite().all()


def test_batch_rows_change_not_one_bit_of_each_other(device):
    potential, eta = chains(5, (3, 301, 5), device)
    eta += 0.5
    changed = potential.clone()
    changed[1] *= 100
    for a, b in zip(two_sided(potential, eta), two_sided(changed, eta), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3)])
def test_nothing_in_nothing_out(device, shape):
    potential, eta = (
        torch.zeros(shape, device=device, requires_grad=True),
        torch.ones(shape[2], device=device),
    )
    real, imag = two_sided(potential, eta)
    (real.sum() + imag.sum()).backward()
    assert real.shape == imag.shape == potential.grad.shape == shape


def test_strides_do_not_matter(device):
    potential, eta = chains(6, (3, 40, 8), device)
    strided = potential.transpose(0, 2)
    for a, b in zip(two_sided(strided, eta[:3]), two_sided(strided.contiguous(), eta[:3]), strict=True):
        assert torch.equal(a, b)


# opcheck reads .grad of non-leaf tensors, about which newer versions warn
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 200, 3)])
def test_is_a_sound_custom_op(device, shape):
    potential, eta = chains(7, shape, device)
    inputs = (potential.requires_grad_(), (eta + 1).detach().requires_grad_())
    torch.library.opcheck(torch.ops.resnetbk.two_sided, inputs)
    parts = torch.ops.resnetbk.two_sided(*(x.detach() for x in inputs))
    out = torch.randn(2, *shape, dtype=torch.float64, device=device)
    torch.library.opcheck(torch.ops.resnetbk.two_sided_adjoint, (inputs[1].detach(), *parts, *out))


def test_counts_its_flops(device):
    potential, eta = chains(8, (2, 5, 3), device)
    with FlopCounterMode(display=False) as counter:
        two_sided(potential.requires_grad_(), eta)[0].sum().backward()
    assert counter.get_total_flops() == (24 + 40) * 2 * 5 * 3
