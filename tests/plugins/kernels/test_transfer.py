"""Chains of quaternions against products of explicit matrices; they neither forget nor look ahead."""

from __future__ import annotations

import math
import os
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from resnetbk_plugins.kernels import torch_scans, transfer, transfer_step
from resnetbk_plugins.kernels.backend import scans_for

EXAMPLES = settings(max_examples=200 if os.environ.get("CI") else 50, deadline=None)


def chains(
    seed: int, shape: tuple[int, int, int], device: str, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """f, of which the first chain is all 1, q and x."""
    generator = torch.Generator().manual_seed(seed)
    batch, length, count = shape
    f = torch.rand(shape, generator=generator, dtype=torch.float64).sqrt()
    f[..., :1] = 1.0
    q, x = torch.randn(2, batch, length, 4, count, generator=generator, dtype=torch.float64)
    q = F.normalize(q, dim=2)
    return f.to(device, dtype), q.to(device, dtype), x.to(device, dtype)


def by_steps(f: Tensor, q: Tensor, x: Tensor) -> Tensor:
    y, rows = torch.zeros_like(x[:, 0]), []
    for i in range(x.shape[1]):
        y = transfer_step(f[:, i], q[:, i], x[:, i], y)
        rows.append(y)
    return torch.stack(rows, 1)


def su2(q: Tensor) -> Tensor:
    """(..., 4) quaternions -> the 2x2 complex matrices of SU(2), a product for a product."""
    a, b, c, d = q.unbind(-1)
    rows = torch.complex(a, b), torch.complex(c, d), torch.complex(-c, d), torch.complex(a, -b)
    return torch.stack(rows, -1).unflatten(-1, (2, 2))


@EXAMPLES
@given(seed=st.integers(0, 2**31), length=st.integers(1, 40))
def test_is_the_sum_of_explicit_products_of_matrices(device, seed, length):
    """y_i = sum over j of x_j Q_{j+1} ... Q_i, of complex 2x2 matrices."""
    f, q, x = chains(seed, (2, length, 3), device)
    y = transfer(f, q, x).cpu()
    for chain in range(3):
        gates, matrices, summands = (
            f[1, :, chain].cpu(),
            su2(q[1, :, :, chain].cpu()),
            su2(x[1, :, :, chain].cpu()),
        )
        for i in {0, length // 2, length - 1}:
            total, after = torch.zeros(2, 2, dtype=torch.complex128), torch.eye(2, dtype=torch.complex128)
            for j in range(i, -1, -1):
                total = total + summands[j] @ after
                after = gates[j] * matrices[j] @ after
            assert (su2(y[1, i, :, chain]) - total).abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 2), (1, 9, 1)])
def test_gradients_of_all_three(device, shape):
    f, q, x = chains(3, shape, device)
    q = 1.5 * q  # which need not be normalised
    assert torch.autograd.gradcheck(transfer, (f.requires_grad_(), q.requires_grad_(), x.requires_grad_()))


@pytest.mark.parametrize("length", [33, 64, 4096])
def test_chunks_give_what_the_rows_one_by_one_give(device, length):
    inputs = tuple(x.requires_grad_() for x in chains(length, (1, length, 3), device))
    out = torch.randn(1, length, 4, 3, dtype=torch.float64, device=device)
    y, expected = transfer(*inputs), by_steps(*inputs)
    results = (y, *torch.autograd.grad(y, inputs, out))
    for a, b in zip(results, (expected, *torch.autograd.grad(expected, inputs, out)), strict=True):
        assert (a - b).abs().max() <= 1e-13 * length**0.5 * b.abs().max()


@pytest.mark.parametrize("length", [513, 1024, 4096])
def test_numba_cuts_single_sequences_exactly(monkeypatch, length):
    """Values and gradients are those of the rows one by one; what comes later changes not one bit."""
    pytest.importorskip("numba")
    from resnetbk_plugins.kernels import numba_kernels, numba_scans

    cuts, launch = [], numba_kernels.launch
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(
        numba_kernels, "launch", lambda *args, cut: cuts.append(cut) or launch(*args, cut=cut)
    )
    inputs = tuple(x.requires_grad_() for x in chains(length, (1, length, 3), "cpu"))
    out = torch.randn(1, length, 4, 3, dtype=torch.float64)
    f, q, x = (each.detach() for each in inputs)
    y = numba_scans.transfer(f, q, x)
    assert {(512, False), (512,)} <= set(cuts)
    expected = by_steps(*inputs)
    results = (y, *numba_scans.transfer_adjoint(f, q, y, out))
    assert (512, True) in cuts
    for a, b in zip(results, (expected, *torch.autograd.grad(expected, inputs, out)), strict=True):
        assert (a - b).abs().max() <= 1e-13 * length**0.5 * b.abs().max()
    assert torch.equal(y[:, :512], expected[:, :512])
    x[:, -1] = torch.nan
    assert torch.equal(numba_scans.transfer(f, q, x)[:, :-1], y[:, :-1])
    x[:, 100, :, 1] = torch.nan
    assert torch.equal(
        numba_scans.transfer(f, q, x)[0, :-1].isnan().any(1).sum(0), torch.tensor([0, length - 101, 0])
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [130, 900])
def test_agrees_with_plain_torch(device, dtype, length):
    f, q, x = chains(4, (3, length, 70), device, dtype)
    out, fast = torch.randn_like(x), scans_for(device)
    y = torch_scans.transfer(f, q, x)
    expected = (y, *torch_scans.transfer_adjoint(f, q, y, out))
    for a, b in zip((fast.transfer(f, q, x), *fast.transfer_adjoint(f, q, y, out)), expected, strict=True):
        assert a.dtype == dtype
        assert (a - b).abs().max() <= 50 * torch.finfo(dtype).eps * b.abs().max()


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("row", [0, 10])
@pytest.mark.parametrize("which", ["f", "q", "x"])
def test_what_is_not_finite_is_remembered_and_equally_in_plain_torch(device, which, row, bad):
    inputs = dict(zip("fqx", chains(5, (2, 90, 3), device), strict=True))
    inputs[which][0, row, ..., 1] = bad
    out = torch.ones_like(inputs["x"])
    y, fast = transfer(**inputs), scans_for(device)
    assert not y[0, row:, :, 1].isfinite().any()
    assert y[0, :row].isfinite().all()
    assert y[1].isfinite().all()
    assert y[0, :, :, [0, 2]].isfinite().all()
    expected = torch_scans.transfer_adjoint(inputs["f"], inputs["q"], y, out)
    for a, b in zip(fast.transfer_adjoint(inputs["f"], inputs["q"], y, out), expected, strict=True):
        assert torch.equal(a.isfinite(), b.isfinite())


def test_rotations_keep_the_norm_and_compose(device):
    """With f = 1 nothing is forgotten: 4096 rows keep the norm of a state, and the inverses of the first half
    undo it."""
    _, q, x = chains(6, (2, 2048, 5), device)
    q = torch.cat((q, torch_scans._conjugate(q.flip(1))), 1)
    start = torch.zeros_like(q)
    start[:, :1] = x[:, :1]
    y = transfer(torch.ones_like(q[:, :, 0]), q, start)
    norm = x[:, :1].norm(dim=2).expand(-1, 4096, -1)
    torch.testing.assert_close(y.norm(dim=2), norm, rtol=1e-13, atol=0)
    torch.testing.assert_close(
        torch_scans.quaternion_product(y[:, -1], q[:, 0]), x[:, 0], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_later_rows_change_not_one_bit(device, dtype):
    f, q, x = chains(7, (2, 301, 5), device, dtype)
    before = transfer(f, q, x)
    for i, changed in product((0, 1, 77, 150, 299), range(3)):
        for value in (torch.nan, 7.0):
            inputs = [f, q, x]
            inputs[changed] = inputs[changed].clone()
            inputs[changed][:, i + 1 :] = value
            after = transfer(*inputs)
            assert torch.equal(before[:, : i + 1], after[:, : i + 1])
            assert not torch.equal(before[:, i + 1 :], after[:, i + 1 :])
        assert torch.equal(transfer(f[:, : i + 1], q[:, : i + 1], x[:, : i + 1]), before[:, : i + 1])


def test_batch_rows_change_not_one_bit_of_each_other(device):
    f, q, x = chains(8, (3, 301, 5), device, torch.float32)
    changed = x.clone()
    changed[1] = torch.nan
    assert torch.equal(transfer(f, q, x)[[0, 2]], transfer(f, q, changed)[[0, 2]])


def test_streaming_gives_the_same_rows(device):
    inputs = chains(9, (2, 257, 70), device, torch.float32)
    y, steps = transfer(*inputs), by_steps(*inputs)
    torch.testing.assert_close(y, steps, rtol=1e-5, atol=1e-4)
    if scans_for(device).__name__.endswith("numba_scans"):
        assert torch.equal(y, steps)


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3), (2, 4, 0)])
def test_nothing_in_nothing_out(device, shape):
    f, q, x = chains(10, shape, device)
    y = transfer(f, q.requires_grad_(), x)
    assert y.shape == x.shape
    y.sum().backward()
    assert q.grad.shape == q.shape


def test_strides_do_not_matter(device):
    f, q, x = chains(11, (3, 40, 8), device)
    out = torch.randn(1, device=device, dtype=torch.float64).expand(8, 40, 4, 3)
    results = []
    for copy in (False, True):
        inputs = tuple(each.transpose(0, -1) for each in (f, q, x))
        inputs = tuple((each.contiguous() if copy else each).detach().requires_grad_() for each in inputs)
        y = transfer(*inputs)
        results.append([y, *torch.autograd.grad(y, inputs, out)])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


# opcheck reads .grad of non-leaf tensors, about which newer versions warn
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 20, 3)])
def test_is_a_sound_custom_op(device, shape):
    inputs = tuple(x.requires_grad_() for x in chains(12, shape, device))
    torch.library.opcheck(torch.ops.resnetbk.transfer, inputs)
    f, q, x = (each.detach() for each in inputs)
    torch.library.opcheck(torch.ops.resnetbk.transfer_adjoint, (f, q, transfer(f, q, x), x))


def test_goes_through_the_compiler_in_one_piece(device):
    def loss(f: Tensor, q: Tensor, x: Tensor) -> Tensor:
        return transfer(f, F.normalize(q, dim=2), x).square().sum()

    inputs = tuple(x.requires_grad_() for x in chains(13, (2, 9, 3), device))
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for a, b in zip(
        torch.autograd.grad(compiled(*inputs), inputs),
        torch.autograd.grad(loss(*inputs), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_counts_its_flops(device):
    f, q, x = chains(14, (2, 5, 3), device)
    with FlopCounterMode(display=False) as counter:
        transfer(f, q.requires_grad_(), x).sum().backward()
    assert counter.get_total_flops() == (36 + 75) * 2 * 5 * 3


@pytest.mark.parametrize(
    ("f", "q", "x", "message"),
    [
        (torch.ones(2, 3, 5), torch.ones(2, 3, 4), torch.ones(2, 3, 4), "must be"),
        (torch.ones(2, 3, 5), torch.ones(2, 3, 3, 5), torch.ones(2, 3, 3, 5), "must be"),
        (torch.ones(2, 3, 4), torch.ones(2, 3, 4, 5), torch.ones(2, 3, 4, 5), "must be"),
        (
            torch.ones(1, 1, 1).half(),
            torch.ones(1, 1, 4, 1).half(),
            torch.ones(1, 1, 4, 1).half(),
            "q must be float32",
        ),
        (
            torch.ones(1, 1, 1).double(),
            torch.ones(1, 1, 4, 1),
            torch.ones(1, 1, 4, 1),
            "f must be torch.float32",
        ),
        (
            torch.ones(1, 1, 1),
            torch.ones(1, 1, 4, 1),
            torch.ones(1, 1, 4, 1).double(),
            "x must be torch.float32",
        ),
    ],
)
def test_refuses_what_it_cannot_run(f, q, x, message):
    with pytest.raises(ValueError, match=message):
        transfer(f, q, x)
