from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from resnetbk_plugins.kernels import one_sided, resolvent, resolvent_step

EXAMPLES = settings(max_examples=200 if os.environ.get("CI") else 50, deadline=None)


def chains(
    seed: int,
    shape: tuple[int, int, int],
    device: str,
    disorder: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    potential = disorder * torch.randn(shape, generator=generator, dtype=dtype)
    eta = 0.05 + 2 * torch.rand(shape[2], generator=generator, dtype=dtype)
    u = torch.randn(shape, generator=generator, dtype=dtype)
    return potential.to(device), eta.to(device), u.to(device)


def by_steps(potential: Tensor, eta: Tensor, u: Tensor) -> tuple[Tensor, ...]:
    state = (torch.zeros_like(potential[:, 0]),) * 4
    rows = []
    for i in range(potential.shape[1]):
        state = resolvent_step(potential[:, i], eta, u[:, i], *state)
        rows.append(state)
    return tuple(torch.stack(part, 1) for part in zip(*rows, strict=True))


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    length=st.integers(1, 64),
    disorder=st.sampled_from([0.0, 0.3, 1.0, 3.0, 100.0]),
)
def test_solves_every_leading_block(device, dense, seed, length, disorder):
    potential, eta, u = chains(seed, (2, length, 3), device, disorder)
    y_real, y_imag, g_real, g_imag = resolvent(potential, eta, u)
    y = torch.complex(y_real, y_imag).cpu()
    for chain in range(3):
        matrix = dense(potential[1, :, chain], eta[chain], hopping=-1.0)
        for i in {0, length // 2, length - 1}:
            right = u[1, : i + 1, chain].cpu().to(torch.complex128)
            assert abs(y[1, i, chain] - torch.linalg.solve(matrix[: i + 1, : i + 1], right)[i]) < 1e-10
    for a, b in zip((g_real, g_imag), one_sided(potential, eta), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (1, 9, 2)])
def test_gradients_of_potential_eta_and_u(device, shape):
    inputs = tuple(x.requires_grad_() for x in chains(3, shape, device))
    assert torch.autograd.gradcheck(resolvent, inputs)


def test_gradients_across_chunks(device):
    potential, eta, u = chains(4, (1, 500, 2), device)
    inputs = tuple(x.detach().requires_grad_() for x in (potential, eta + 0.9, u))
    out = [torch.randn(1, 500, 2, dtype=torch.float64, device=device) for _ in range(4)]
    gradients = torch.autograd.grad(resolvent(*inputs), inputs, out)
    expected = torch.autograd.grad(by_steps(*inputs), inputs, out)
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_later_rows_change_not_one_bit(device, dtype):
    potential, eta, u = chains(5, (2, 601, 5), device, dtype=dtype)
    eta += 0.5
    before = resolvent(potential, eta, u)
    for i in (0, 1, 77, 300, 599):
        changed, changed_u = potential.clone(), u.clone()
        changed[:, i + 1 :] = 7 * torch.randn_like(changed[:, i + 1 :])
        changed_u[:, i + 1 :] = 1e6
        for a, b in zip(before, resolvent(changed, eta, changed_u), strict=True):
            assert torch.equal(a[:, : i + 1], b[:, : i + 1])


def test_batch_rows_change_not_one_bit_of_each_other(device):
    potential, eta, u = chains(6, (3, 301, 5), device, dtype=torch.float32)
    eta += 0.5
    changed, changed_u = potential.clone(), u.clone()
    changed[1] *= 100
    changed_u[1] *= 100
    for a, b in zip(resolvent(potential, eta, u), resolvent(changed, eta, changed_u), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])


def test_streaming_gives_the_same_rows(device):
    potential, eta, u = chains(7, (2, 257, 4), device, dtype=torch.float32)
    eta += 0.2
    for a, b in zip(resolvent(potential, eta, u), by_steps(potential, eta, u), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3)])
def test_nothing_in_nothing_out(device, shape):
    potential = torch.zeros(shape, device=device, requires_grad=True)
    parts = resolvent(potential, torch.ones(shape[2], device=device), torch.zeros(shape, device=device))
    sum(part.sum() for part in parts).backward()
    assert all(part.shape == shape for part in (*parts, potential.grad))


def test_strides_do_not_matter(device):
    potential, eta, u = (x.transpose(0, -1) for x in chains(8, (3, 40, 8), device))
    for a, b in zip(
        resolvent(potential, eta[:3], u),
        resolvent(potential.contiguous(), eta[:3], u.contiguous()),
        strict=True,
    ):
        assert torch.equal(a, b)


# opcheck reads .grad of non-leaf tensors, about which newer versions warn
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 300, 3)])
def test_is_a_sound_custom_op(device, shape):
    potential, eta, u = chains(9, shape, device)
    inputs = tuple(x.detach().requires_grad_() for x in (potential, eta + 1, u))
    torch.library.opcheck(torch.ops.resnetbk.resolvent, inputs)
    parts = [x.detach() for x in resolvent(*inputs)]
    out = torch.randn(4, *shape, dtype=torch.float64, device=device)
    torch.library.opcheck(torch.ops.resnetbk.resolvent_adjoint, (inputs[1].detach(), *parts, *out))


def test_counts_its_flops(device):
    potential, eta, u = chains(10, (2, 5, 3), device)
    with FlopCounterMode(display=False) as counter:
        resolvent(potential.requires_grad_(), eta, u)[0].sum().backward()
    assert counter.get_total_flops() == (15 + 30) * 2 * 5 * 3


def test_refuses_a_u_of_another_shape():
    with pytest.raises(ValueError, match="u must be"):
        resolvent(torch.zeros(1, 2, 3), torch.ones(3), torch.zeros(1, 2, 1))
