"""Scans with a hopping for each row: exact, bounded whatever its sign, and the sign reaches the state."""

from __future__ import annotations

import importlib
import math
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from resnetbk_plugins.kernels import (
    one_sided,
    resolvent,
    signed_one_sided,
    signed_one_sided_step,
    signed_resolvent,
    signed_resolvent_step,
    torch_scans,
)

EXAMPLES = settings(max_examples=200 if os.environ.get("CI") else 50, deadline=None)
SCANS = {"one_sided": signed_one_sided, "resolvent": signed_resolvent}


def chains(
    seed: int,
    shape: tuple[int, int, int],
    device: str,
    disorder: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    """potential, eta, hopping of either sign, u."""
    generator = torch.Generator().manual_seed(seed)
    potential, hopping, u = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    eta = 0.05 + 2 * torch.rand(shape[2], generator=generator, dtype=torch.float64)
    parts = (disorder * potential, eta, (2 * hopping).tanh(), u)
    return [part.to(device, dtype) for part in parts]


def run(name: str, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return SCANS[name](*inputs[: 4 if name == "resolvent" else 3])


def by_steps(name: str, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    potential, eta, hopping, u = inputs
    state, rows = (torch.zeros_like(potential[:, 0]),) * (4 if name == "resolvent" else 2), []
    for i in range(potential.shape[1]):
        if name == "resolvent":
            state = signed_resolvent_step(potential[:, i], eta, hopping[:, i], u[:, i], *state)
        else:
            state = signed_one_sided_step(potential[:, i], eta, hopping[:, i], *state)
        rows.append(state)
    return tuple(torch.stack(part, 1) for part in zip(*rows, strict=True))


def dense(diagonal: Tensor, below: Tensor, above: Tensor) -> Tensor:
    return torch.diag(diagonal) + torch.diag(below[1:], -1) + torch.diag(above[1:], 1)


lengths_and_disorder = given(
    seed=st.integers(0, 2**31),
    length=st.integers(1, 64),
    disorder=st.sampled_from([0.0, 0.3, 1.0, 3.0, 100.0]),
)


@EXAMPLES
@lengths_and_disorder
def test_the_ratio_is_an_element_of_the_inverse(device, seed, length, disorder):
    """Below the diagonal b, above it 1, and eta has the sign of the product of all b so far."""
    inputs = chains(seed, (2, length, 3), device, disorder)
    g_real, g_imag = (part.cpu() for part in signed_one_sided(*inputs[:3]))
    potential, eta, hopping, _ = (part.cpu() for part in inputs)
    for chain in range(3):
        b = hopping[1, :, chain]
        sign = b.sign().cumprod(0)
        matrix = dense(torch.complex(potential[1, :, chain], -sign * eta[chain]), b, torch.ones_like(b))
        for i in {0, length // 2, length - 1}:
            g = torch.linalg.inv(matrix[: i + 1, : i + 1])[i, i]
            assert g.imag * sign[i] > 0
            assert abs(g.real - g_real[1, i, chain]) < 1e-10
            assert abs(g.imag.abs() - g_imag[1, i, chain]) < 1e-10


@EXAMPLES
@lengths_and_disorder
def test_the_values_solve_the_symmetric_matrix(device, seed, length, disorder):
    inputs = chains(seed, (2, length, 3), device, disorder)
    parts = signed_resolvent(*inputs)
    y, g = (torch.complex(*pair).cpu() for pair in (parts[:2], parts[2:]))
    potential, eta, hopping, u = (part.cpu() for part in inputs)
    for chain in range(3):
        off = -hopping[1, :, chain]
        matrix = dense(torch.complex(potential[1, :, chain], -eta[chain].expand(length)), off, off)
        for i in {0, length // 2, length - 1}:
            inverse = torch.linalg.inv(matrix[: i + 1, : i + 1])
            assert abs(y[1, i, chain] - inverse[i] @ u[1, : i + 1, chain].to(torch.complex128)) < 1e-10
            assert abs(g[1, i, chain] - inverse[i, i]) < 1e-10


def test_hopping_1_is_the_fixed_chain(device):
    potential, eta, hopping, u = chains(1, (2, 40, 3), device)
    ones = torch.ones_like(hopping)
    signed = (*signed_one_sided(potential, eta, ones), *signed_resolvent(potential, eta, ones, u))
    for a, b in zip(signed, (*one_sided(potential, eta), *resolvent(potential, eta, u)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_flipped_sign_flips_what_was_before_it(device):
    """As a negative eigenvalue does in a linear RNN. At v = 0 only the first row's potential and u remain."""
    potential, eta, _, u = chains(2, (1, 60, 1), device)
    potential[:, 1:], u[:, 1:], eta[:] = 0.0, 0.0, 1e-3
    flipped = torch.ones_like(u)
    flipped[:, 30:31] = -1.0
    for scan, rest in ((signed_one_sided, []), (signed_resolvent, [u])):
        before = scan(potential, eta, torch.ones_like(u), *rest)
        after = scan(potential, eta, flipped, *rest)
        assert before[0][:, 1:].abs().min() > (1e-4 if rest else 0.1)
        torch.testing.assert_close(after[0][:, :30], before[0][:, :30])
        torch.testing.assert_close(after[0][:, 30:], -before[0][:, 30:])


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (1, 9, 2)])
def test_gradients_of_all_arguments(device, name, shape):
    inputs = [part.requires_grad_() for part in chains(3, shape, device)]
    assert torch.autograd.gradcheck(SCANS[name], inputs[: 4 if name == "resolvent" else 3])


@pytest.mark.parametrize("name", SCANS)
def test_gradients_across_chunks(device, name):
    potential, eta, *rest = chains(4, (1, 400, 2), device)
    inputs = [part.detach().requires_grad_() for part in (potential, eta + 0.8, *rest)]
    used = inputs[: 4 if name == "resolvent" else 3]
    out = torch.randn(4, 1, 400, 2, dtype=torch.float64, device=device)[: 4 if name == "resolvent" else 2]
    gradients = torch.autograd.grad(run(name, inputs), used, list(out))
    expected = torch.autograd.grad(by_steps(name, inputs), used, list(out))
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eta", [1.0, 0.02])
@pytest.mark.parametrize("length", [33, 1031, 4096])
def test_chunks_give_the_rows_one_by_one(device, dtype, eta, length):
    potential, _, hopping, _ = chains(length, (1, length, 3), device, 0.3, dtype)
    potential[:, :, 0], hopping[:, :, 0] = 0.0, hopping[:, :, 0].sign()  # forgets as slowly as any
    etas = torch.full((3,), eta, dtype=dtype, device=device)
    inputs = [potential, etas, hopping, torch.zeros_like(potential)]
    for a, b in zip(run("one_sided", inputs), by_steps("one_sided", inputs), strict=True):
        assert (a - b).abs().max() <= 100 * torch.finfo(dtype).eps * b.abs().max()


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("disorder", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("eta", [1e-6, 1e-2, 1e3])
@pytest.mark.parametrize("size", [0.0, 1e-20, 0.5, 1.0])
def test_stays_below_one_over_eta_for_every_hopping(device, name, disorder, eta, size):
    potential, _, hopping, u = chains(5, (2, 500, 4), device, disorder, torch.float32)
    hopping = size * hopping.sign()
    inputs = [potential.requires_grad_(), torch.full((4,), eta, device=device), hopping.requires_grad_(), u]
    parts = run(name, inputs)
    assert (parts[-1] >= 0).all()
    assert (torch.hypot(*parts[-2:]) <= (1 + 1e-6) / eta).all()
    gradients = torch.autograd.grad(sum(part.sum() for part in parts), (potential, hopping))
    assert all(part.isfinite().all() for part in (*parts, *gradients))


@EXAMPLES
@given(
    eta=st.floats(0.01, 5.0),
    rows=st.lists(st.tuples(st.floats(-3, 3), st.floats(-1, 1)), min_size=3, max_size=99),
    adversarial=st.booleans(),
)
def test_products_shrink_as_fast_as_with_hopping_1(eta, rows, adversarial):
    """The bound of `forgetting`; an adversarial potential meets the real part of what the row before adds."""
    g, product = 0j, 1.0
    for n, (v, b) in enumerate(rows, 1):
        before = complex(b * g.real, abs(b) * g.imag)
        g = 1 / (complex(before.real if adversarial else v, -eta) - before)
        product *= abs(g) ** 2 * (abs(b) if n > 1 else 1.0)
        if n % 2:
            assert product <= math.exp(-math.asinh(eta) * (n - 1)) / eta**2 * (1 + 1e-9)


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_later_rows_and_other_sequences_change_not_one_bit(device, name, dtype):
    inputs = chains(6, (2, 301, 5), device, dtype=dtype)
    inputs[1] += 0.5
    before = run(name, inputs)
    for i in (0, 1, 77, 150, 299):
        for number in (0, 2, 3) if name == "resolvent" else (0, 2):
            changed = [part.clone() for part in inputs]
            changed[number][0, i + 1 :] *= -0.7
            changed[number][1] *= -0.9
            for a, b in zip(before, run(name, changed), strict=True):
                assert torch.equal(a[0, : i + 1], b[0, : i + 1])
            assert not torch.equal(before[0][0, i + 1 :], run(name, changed)[0][0, i + 1 :])


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("number", [0, 2])
def test_what_is_not_finite_stays_so_and_is_seen_by_no_row_before(device, name, number):
    inputs = chains(7, (2, 120, 5), device)
    before = run(name, inputs)
    inputs[number][0, 70] = torch.nan
    for a, b in zip(before, run(name, inputs), strict=True):
        torch.testing.assert_close(a[0, :70], b[0, :70], rtol=1e-12, atol=1e-12)
        assert not b[0, 70:].isfinite().any()
        torch.testing.assert_close(a[1], b[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SCANS)
def test_streaming_gives_the_same_rows(device, name):
    inputs = chains(8, (2, 257, 4), device, dtype=torch.float32)
    inputs[1] += 0.2
    for a, b in zip(run(name, inputs), by_steps(name, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3), (2, 4, 0)])
def test_nothing_in_nothing_out(device, name, shape):
    inputs = [part.requires_grad_() for part in chains(9, shape, device)]
    parts = run(name, inputs)
    sum(part.sum() for part in parts).backward()
    assert all(part.shape == shape for part in (*parts, inputs[0].grad, inputs[2].grad))


# opcheck reads .grad of non-leaf tensors, about which newer versions warn
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 200, 3)])
def test_is_a_sound_custom_op(device, shape):
    potential, eta, hopping, _ = chains(10, shape, device)
    inputs = (potential, eta + 1, hopping.abs())
    torch.library.opcheck(torch.ops.resnetbk.hopping, tuple(x.detach().requires_grad_() for x in inputs))


def test_counts_its_flops(device):
    potential, eta, hopping, u = chains(11, (2, 5, 3), device)
    with FlopCounterMode(display=False) as counter:
        signed_one_sided(potential.requires_grad_(), eta, hopping)[0].sum().backward()
    assert counter.get_total_flops() == (10 + 75) * 2 * 5 * 3
    with FlopCounterMode(display=False) as counter:
        signed_resolvent(potential, eta, hopping, u)[0].sum().backward()
    assert counter.get_total_flops() == (10 + 36 + 75 + 75) * 2 * 5 * 3


def test_numba_in_chunks_is_exact(monkeypatch):
    pytest.importorskip("numba")
    numba_scans = importlib.import_module("resnetbk_plugins.kernels.numba_scans")
    monkeypatch.setattr(numba_scans, "_ROWS", 256)
    potential, eta, hopping, _ = chains(12, (2, 1200, 3), "cpu", dtype=torch.float32)
    inputs = potential, eta + 0.9, hopping.abs()
    assert numba_scans._cut(potential.shape, numba_scans._early(inputs[1], 0))[0] < 1200
    exact = torch_scans.hopping(*(part.double() for part in inputs))
    for a, b in zip(numba_scans.hopping(*inputs), exact, strict=True):
        assert (a - b).abs().max() <= 2e-6 * b.abs().max()


def test_refuses_a_hopping_of_another_shape():
    with pytest.raises(ValueError, match="hopping must be"):
        signed_one_sided(torch.zeros(1, 2, 3), torch.ones(3), torch.zeros(1, 2, 1))
