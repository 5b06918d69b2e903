"""What `test_triton` runs with TRITON_INTERPRET=1: chunks of few rows and blocks of few chains, so that
sequences of ten rows have several, and the last of both are not full."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from resnetbk_plugins.kernels import backend, torch_scans, triton_scans
from resnetbk_plugins.kernels import forgetting as bounds
from resnetbk_plugins.kernels.convolution import causal_convolution
from resnetbk_plugins.kernels.diagonal import diagonal
from resnetbk_plugins.kernels.one_sided import one_sided
from resnetbk_plugins.kernels.resolvent import resolvent
from resnetbk_plugins.kernels.transfer import transfer
from resnetbk_plugins.kernels.triton_steps import run_up
from resnetbk_plugins.kernels.two_sided import two_sided

# numpy warns of what the kernels compute on purpose: 1 / 0, inf - inf
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
SCANS = {"one_sided": one_sided, "two_sided": two_sided, "resolvent": resolvent}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(backend, "_KERNELS", {"cpu": ("triton", ".triton_scans")})
    monkeypatch.setattr(triton_scans, "ROWS", 4)
    monkeypatch.setattr(triton_scans, "BLOCK", 4)
    backend.forget()
    assert backend.scans_for("cpu") is triton_scans


def drawn(eta: float, dtype: torch.dtype, length: int, batch: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    """(potential, eta, u), 4 gradients; chains of the second block forget within the run-up."""
    generator = torch.Generator().manual_seed(0)
    potential, u, *out = torch.randn(6, batch, length, 5, generator=generator, dtype=torch.float64).to(dtype)
    etas = torch.tensor([eta, 1.5 * eta, 2 * eta, eta, 1e4], dtype=dtype)
    return [potential, etas, u], out


def everything(scans, name, inputs, out):
    inputs, out = (inputs, out) if name == "resolvent" else (inputs[:2], out[:2])
    forward = getattr(scans, name)(*inputs)
    return [*forward, *getattr(scans, name + "_adjoint")(inputs[1], *forward, *out)]


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize(
    ("eta", "dtype"),
    [
        (3.0, torch.float32),
        (0.5, torch.float32),
        (0.05, torch.float64),
        (1e-3, torch.float32),
    ],
)
def test_values_and_gradients_are_those_of_torch_in_float64(monkeypatch, name, eta, dtype):
    if eta == 3.0:  # with a run-up of 11 rows
        monkeypatch.setattr(triton_scans, "ROWS", 16)
    inputs, out = drawn(eta, dtype, 35 if eta == 3.0 else 10)
    results = everything(triton_scans, name, inputs, out)
    exact = everything(torch_scans, name, [x.double() for x in inputs], [x.double() for x in out])
    for a, b in zip(results, exact, strict=True):
        assert a.dtype == dtype
        assert (a - b).abs().max() <= 5 * torch.finfo(dtype).eps * (1 + 1 / eta) * b.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eta", [3.0, 0.05, 1e-3])
def test_a_hopping_for_each_row_is_that_of_torch(monkeypatch, eta, dtype):
    if eta == 3.0:
        monkeypatch.setattr(triton_scans, "ROWS", 16)
    (potential, etas, u), _ = drawn(eta, dtype, 35 if eta == 3.0 else 13)
    t = u.tanh().abs()
    t[:, 5], t[:, :, 1] = 0.0, 1.0
    exact = torch_scans.hopping(potential.double(), etas.double(), t.double())
    for a, b in zip(triton_scans.hopping(potential, etas, t), exact, strict=True):
        assert a.dtype == dtype
        assert (a - b).abs().max() <= 5 * torch.finfo(dtype).eps * (1 + 1 / eta) * b.abs().max()
    changed = t.clone()
    changed[:, 7:] = torch.nan
    for a, b in zip(*(triton_scans.hopping(potential, etas, h) for h in (t, changed)), strict=True):
        assert torch.equal(a[:, :7], b[:, :7])
        assert not b[:, 7:].isfinite().any()


@pytest.mark.parametrize("name", ["one_sided", "resolvent"])
@pytest.mark.parametrize("eta", [1e4, 0.05])
def test_later_rows_and_other_sequences_change_not_one_bit(name, eta):
    (potential, etas, u), _ = drawn(eta, torch.float32, 10, batch=2)
    scan, rest = SCANS[name], [u] if name == "resolvent" else []
    before = scan(potential, etas, *rest)
    changed = potential.clone()
    changed[0, 7:] = torch.nan
    changed[1] = 7.0
    for a, b in zip(before, scan(changed, etas, *rest), strict=True):
        assert torch.equal(a[0, :7], b[0, :7])
        assert not b[0, 7:].isfinite().any()
    shorter = scan(potential[:1, :7], etas, *(x[:1, :7] for x in rest))
    for a, b in zip(before, shorter, strict=True):
        assert torch.equal(a[:1, :7], b)


@pytest.mark.parametrize("eta", [1.5, 1e-3, 1e-20])
@pytest.mark.parametrize("bad", [torch.inf, 1e20, -1e38])
def test_extreme_rows_do_no_more_harm_than_in_torch(eta, bad):
    inputs, out = drawn(eta, torch.float32, 13)
    inputs[0][0, 10, 1] = bad
    results = everything(triton_scans, "one_sided", inputs, out)
    for a, b in zip(results, everything(torch_scans, "one_sided", inputs, out), strict=True):
        assert (a.isfinite() | ~b.isfinite()).all()


@triton.jit
def _run_ups(eta, out, POWER: tl.constexpr):
    tl.store(out + tl.program_id(0), run_up(tl.load(eta + tl.program_id(0) + tl.arange(0, 1)), POWER))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [0, 1, 2])
def test_run_ups_are_those_that_are_proven(dtype, power):
    eta = torch.tensor(
        [30.0, 3.0, 1.0, 0.5, 0.2, 0.1, 0.09, 0.02, 1e-3, 1e-5, 1e-7, 0.0, -1.0, torch.nan], dtype=dtype
    )
    rows = torch.zeros(len(eta))
    _run_ups[(len(eta),)](eta, rows, POWER=power)
    for e, on_device in zip(eta.tolist(), rows.tolist(), strict=True):
        proven = bounds.linear_run_up(e, dtype, power) if power else bounds.ratio_run_up(e, dtype)
        if proven is None:
            assert on_device == torch.inf
        else:
            assert proven - 2 <= on_device <= 1.002 * proven + 4, e


@pytest.mark.parametrize("size", [1, 3, 4])
def test_the_convolution_is_that_of_torch(size):
    generator = torch.Generator().manual_seed(0)
    x, out = torch.randn(2, 2, 19, 5, generator=generator, dtype=torch.float64)
    x[1] *= 1e3
    weight = torch.randn(size, 5, generator=generator, dtype=torch.float64).requires_grad_()
    x.requires_grad_()
    y = causal_convolution(x, weight)
    gradients = torch.autograd.grad(y, (x, weight), out)
    torch.testing.assert_close(y.detach(), torch_scans.convolution(x, weight).detach())
    for a, b in zip(
        gradients, torch_scans.convolution_adjoint(x.detach(), weight.detach(), out), strict=True
    ):
        torch.testing.assert_close(a, b)
    changed = x.detach().clone()
    changed[:, 11:] = torch.nan
    assert torch.equal(causal_convolution(changed, weight)[:, :11], y[:, :11])


@pytest.mark.parametrize(("length", "dtype"), [(3, torch.float32), (35, torch.float32), (37, torch.float64)])
def test_the_diagonal_recurrence_is_that_of_torch(length, dtype):
    """With up to three levels of chunks."""
    generator = torch.Generator().manual_seed(0)
    f = torch.rand(2, length, 5, generator=generator, dtype=torch.float64) ** 0.1
    f[0, length // 2, 1], f[0, length // 2 + 1, 1] = 0.0, 1.0
    x, out = torch.randn(2, 2, length, 5, generator=generator, dtype=torch.float64)
    h = torch_scans.diagonal(f, x)
    exact = [h, *torch_scans.diagonal_adjoint(f, h, out)]
    f, x, out = f.to(dtype), x.to(dtype), out.to(dtype)
    h = triton_scans.diagonal(f, x)
    for a, b in zip([h, *triton_scans.diagonal_adjoint(f, h, out)], exact, strict=True):
        assert a.dtype == dtype
        assert (a - b).abs().max() <= 10 * torch.finfo(dtype).eps * b.abs().max()


@pytest.mark.parametrize("row", [7, 8, 18])
def test_the_diagonal_recurrence_shows_later_rows_to_none_before(row):
    generator = torch.Generator().manual_seed(0)
    f, x = torch.rand(2, 2, 23, 5, generator=generator)
    before = diagonal(f, x)
    changed = x.clone()
    changed[0, row:] = torch.nan
    changed[1] = 7.0
    after = diagonal(f, changed)
    assert torch.equal(before[0, :row], after[0, :row])
    assert not after[0, row:].isfinite().any()
    assert torch.equal(before[:, :row], diagonal(f[:, :row], x[:, :row]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1, 4, 9, 19])  # 19 rows are 5 chunks, whose scan has 2
def test_the_quaternions_are_those_of_torch_in_float64(dtype, length):
    generator = torch.Generator().manual_seed(0)
    x, out, q, f = torch.randn(4, 2, length, 4, 5, generator=generator, dtype=torch.float64).to(dtype)
    f, q = torch.sigmoid(f[:, :, 0]), torch.nn.functional.normalize(q, dim=2)
    f[:, :, 0] = 1.0
    y = triton_scans.transfer(f, q, x)
    results = [y, *triton_scans.transfer_adjoint(f, q, y, out)]
    wide = [each.double() for each in (f, q, x, out)]
    exact = torch_scans.transfer(*wide[:3])
    for a, b in zip(results, [exact, *torch_scans.transfer_adjoint(*wide[:2], exact, wide[3])], strict=True):
        assert a.dtype == dtype
        assert (a - b).abs().max() <= 8 * torch.finfo(dtype).eps * b.abs().max()


def test_later_quaternions_and_other_sequences_change_not_one_bit():
    generator = torch.Generator().manual_seed(0)
    x, q = torch.randn(2, 2, 19, 4, 5, generator=generator)
    f = torch.rand(2, 19, 5, generator=generator)
    before = transfer(f, q, x)
    for changed in (x.clone(), q.clone()):
        changed[0, 13:] = torch.nan
        changed[1] = 7.0
        after = transfer(f, changed, x) if torch.equal(changed[0, 0], q[0, 0]) else transfer(f, q, changed)
        assert torch.equal(after[0, :13], before[0, :13])
        assert not after[0, 13:].isfinite().any()
    assert torch.equal(transfer(f[:1, :7], q[:1, :7], x[:1, :7]), before[:1, :7])
