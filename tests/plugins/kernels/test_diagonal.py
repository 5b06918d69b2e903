from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from resnetbk_plugins.kernels import backend, diagonal, torch_scans


def drawn(
    seed: int, shape: tuple[int, ...], device: str, dtype: torch.dtype = torch.float64, memory: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Factors whose share of exact 0 and 1 is a tenth each, nearer to 1 for more memory; and inflows."""
    generator = torch.Generator().manual_seed(seed)
    f = torch.rand(shape, generator=generator, dtype=torch.float64) ** (1 / memory)
    kind = torch.rand(shape, generator=generator)
    f = f.masked_fill(kind < 0.1, 0.0).masked_fill(kind > 0.9, 1.0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return f.to(device, dtype), x.to(device, dtype)


def by_rows(f: Tensor, x: Tensor) -> Tensor:
    h, states = torch.zeros_like(x[:, 0]), []
    for i in range(x.shape[1]):
        h = f[:, i] * h + x[:, i]
        states.append(h)
    return torch.stack(states, 1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), length=st.integers(1, 99), memory=st.sampled_from([0.3, 1.0, 30.0]))
def test_solves_the_bidiagonal_system(device, seed, length, memory):
    f, x = drawn(seed, (2, length, 3), device, memory=memory)
    h = diagonal(f, x).cpu()
    for channel in range(3):
        matrix = torch.eye(length, dtype=torch.float64) - torch.diag(f[1, 1:, channel].cpu(), -1)
        expected = torch.linalg.solve_triangular(matrix, x[1, :, channel, None].cpu(), upper=False)
        torch.testing.assert_close(h[1, :, channel], expected[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (1, 70, 2)])
def test_gradients_of_factors_and_inflows(device, shape):
    f, x = drawn(1, shape, device)
    assert torch.autograd.gradcheck(diagonal, (f.requires_grad_(), x.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory", [1.0, 1e4])
@pytest.mark.parametrize("length", [31, 32, 33, 1025, 4096])
def test_chunks_give_what_row_by_row_gives(device, dtype, memory, length):
    inputs = tuple(x.requires_grad_() for x in drawn(length, (2, length, 3), device, dtype, memory))
    exact = tuple(x.detach().double().requires_grad_() for x in inputs)
    out = torch.randn(2, length, 3, device=device, dtype=dtype)
    h, expected = diagonal(*inputs), by_rows(*exact)
    results = [h, *torch.autograd.grad(h, inputs, out)]
    rows = [expected, *torch.autograd.grad(expected, exact, out.double())]
    for a, b in zip(results, rows, strict=True):
        assert a.dtype == dtype
        # rounding errors are remembered as long as what they are errors of
        assert (a - b).abs().max() <= 4 * memory**0.5 * torch.finfo(dtype).eps * b.abs().max()


@pytest.mark.parametrize("memory", [1.0, 1e4])
@pytest.mark.parametrize("length", [513, 1024, 4096])
def test_numba_cuts_single_sequences_exactly(monkeypatch, length, memory):
    pytest.importorskip("numba")
    from resnetbk_plugins.kernels import numba_kernels, numba_scans

    cuts, launch = [], numba_kernels.launch
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(
        numba_kernels, "launch", lambda *args, cut: cuts.append(cut) or launch(*args, cut=cut)
    )
    inputs = tuple(x.requires_grad_() for x in drawn(length, (1, length, 3), "cpu", memory=memory))
    out = torch.randn(1, length, 3, dtype=torch.float64)
    f, x = (each.detach() for each in inputs)
    h, expected = numba_scans.diagonal(f, x), by_rows(*inputs)
    results = (h, *numba_scans.diagonal_adjoint(f, h, out))
    assert {(512, False), (512, True), (512,)} <= set(cuts)
    for a, b in zip(results, (expected, *torch.autograd.grad(expected, inputs, out)), strict=True):
        assert (a - b).abs().max() <= 4 * memory**0.5 * torch.finfo(a.dtype).eps * b.abs().max()
    assert torch.equal(h[:, :512], expected[:, :512])
    x[:, -1] = torch.nan
    assert torch.equal(numba_scans.diagonal(f, x)[:, :-1], h[:, :-1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_later_rows_and_their_number_change_not_one_bit(device, dtype):
    f, x = drawn(2, (2, 1301, 5), device, dtype, memory=30.0)
    before = diagonal(f, x)
    for i in (0, 1, 31, 77, 1023, 1299):
        g, y = f.clone(), x.clone()
        g[:, i + 1 :] = torch.rand_like(g[:, i + 1 :])
        y[:, i + 1 :] = 7 * torch.randn_like(y[:, i + 1 :])
        after = diagonal(g, y)
        assert torch.equal(before[:, : i + 1], after[:, : i + 1])
        assert not torch.equal(before[:, i + 1 :], after[:, i + 1 :])
        assert torch.equal(before[:, : i + 1], diagonal(f[:, : i + 1], x[:, : i + 1]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", [0, 40, 1100])
@pytest.mark.parametrize("where", ["factor", "inflow"])
def test_what_is_not_finite_stays_so_and_goes_nowhere_else(device, bad, row, where):
    f, x = drawn(3, (2, 1301, 3), device, torch.float32)
    before = diagonal(f, x)
    (f if where == "factor" else x)[1, row, 2] = bad
    after = diagonal(f, x)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1, :, :2], after[1, :, :2])
    assert torch.equal(before[1, :row, 2], after[1, :row, 2])
    assert not after[1, row:, 2].isfinite().any()


def test_batch_rows_change_not_one_bit_of_each_other(device):
    f, x = drawn(4, (3, 301, 5), device, torch.float32)
    changed = x.clone()
    changed[1] *= 100
    assert torch.equal(diagonal(f, x)[[0, 2]], diagonal(f, changed)[[0, 2]])


@pytest.mark.parametrize("shape", [(3, 130, 64), (1, 900, 130), (5, 65, 7)])
def test_backends_agree_in_single_precision(device, shape):
    f, x = drawn(5, shape, device, torch.float32, memory=10.0)
    out, scans = torch.randn(shape, device=device), backend.scans_for(device)
    h, expected = scans.diagonal(f, x), torch_scans.diagonal(f, x)
    pairs = zip(scans.diagonal_adjoint(f, h, out), torch_scans.diagonal_adjoint(f, h, out), strict=True)
    for a, b in [(h, expected), *pairs]:
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3), (2, 4, 0)])
def test_nothing_in_nothing_out(device, shape):
    f, x = (torch.ones(shape, device=device, requires_grad=True) for _ in range(2))
    h = diagonal(f, x)
    assert h.shape == shape
    h.sum().backward()
    assert f.grad.shape == x.grad.shape == shape


def test_strides_do_not_matter(device):
    f, x = (y.transpose(0, 2) for y in drawn(6, (3, 40, 8), device))
    out = torch.randn(1, device=device, dtype=torch.float64).expand(8, 40, 3)
    results = []
    for inputs in [(f, x), (f.contiguous(), x.contiguous())]:
        inputs = tuple(y.detach().requires_grad_() for y in inputs)
        h = diagonal(*inputs)
        results.append([h, *torch.autograd.grad(h, inputs, out)])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


# opcheck reads .grad of non-leaf tensors, about which newer versions warn
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 70, 3)])
def test_is_a_sound_custom_op(device, shape):
    f, x = drawn(7, shape, device)
    torch.library.opcheck(torch.ops.resnetbk.diagonal, (f.requires_grad_(), x.requires_grad_()))
    f, x = f.detach(), x.detach()
    torch.library.opcheck(torch.ops.resnetbk.diagonal_adjoint, (f, diagonal(f, x), x))


def test_goes_through_the_compiler_in_one_piece(device):
    f, x = (y.requires_grad_() for y in drawn(8, (2, 9, 3), device))
    compiled = torch.compile(lambda f, x: diagonal(f, x).square().sum(), backend="aot_eager", fullgraph=True)
    expected = torch.autograd.grad(diagonal(f, x).square().sum(), (f, x))
    for a, b in zip(torch.autograd.grad(compiled(f, x), (f, x)), expected, strict=True):
        assert torch.equal(a, b)


def test_counts_its_flops(device):
    f, x = drawn(9, (2, 5, 3), device)
    with FlopCounterMode(display=False) as counter:
        diagonal(f.requires_grad_(), x).sum().backward()
    assert counter.get_total_flops() == (2 + 3) * 2 * 5 * 3


def test_numba_has_the_bits_of_the_rows_for_any_company_and_thread_count():
    pytest.importorskip("numba")
    from resnetbk_plugins.kernels import numba_scans as scans

    threads = torch.get_num_threads()
    f, x = drawn(10, (2, 400, 96), "cpu", torch.float32, memory=10.0)
    h, out = scans.diagonal(f, x), torch.randn(2, 400, 96)
    gradients = scans.diagonal_adjoint(f, h, out)
    assert torch.equal(h, by_rows(f, x))
    torch.set_num_threads(1)
    try:
        again = scans.diagonal_adjoint(f, scans.diagonal(f, x), out)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(scans.diagonal(f[1:, :, 5:42], x[1:, :, 5:42]), h[1:, :, 5:42])
    for a, b in zip(gradients, again, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("f", "x", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), "must both be"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 3, 5), "must both be"),
        (torch.zeros(2, 3, 4).bfloat16(), torch.zeros(2, 3, 4).bfloat16(), "float32 or float64 alike"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 3, 4).double(), "float32 or float64 alike"),
    ],
)
def test_refuses_what_it_cannot_run(f, x, message):
    with pytest.raises(ValueError, match=message):
        diagonal(f, x)
