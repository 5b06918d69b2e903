from __future__ import annotations

import importlib
import logging
import math
import os
import subprocess
import sys

import pytest
import torch

from resnetbk_plugins.kernels import backend, one_sided, torch_scans
from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal
from resnetbk_plugins.sequence_mixer.bk_diagonal import BKDiagonal
from resnetbk_plugins.sequence_mixer.bk_moebius import BKMoebius
from resnetbk_plugins.sequence_mixer.bk_resolvent import BKResolvent

NAMES = ["one_sided", "two_sided", "resolvent"]


@pytest.fixture
def fresh(monkeypatch):
    """No backend chosen yet; those chosen in the test are forgotten after it."""
    backend.forget()
    yield monkeypatch
    backend.forget()


def chosen(caplog):
    """What was said but for compiling, of which a second run on this machine says nothing."""
    return [record.message for record in caplog.records if "compiles" not in record.message]


def test_import_takes_neither_numba_nor_triton():
    code = """
import sys, torch.utils.flop_counter  # which may import triton itself
before = set(sys.modules)
import resnetbk_plugins.kernels
print({"numba", "triton"} & (set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_numba_serves_the_cpu_and_says_so_once(fresh, caplog):
    pytest.importorskip("numba")
    caplog.set_level(logging.INFO, logger="resnetbk")
    for _ in range(2):
        one_sided(torch.zeros(1, 2, 3), torch.ones(3))
    assert chosen(caplog) == ["resolvent scans on cpu: numba"]


def test_without_numba_torch_serves(fresh, caplog):
    fresh.setitem(sys.modules, "numba", None)
    names = ("convolution", "diagonal", "kernels", "scans", "transfer")
    for module in (f"numba_{name}" for name in names):
        fresh.delitem(sys.modules, f"resnetbk_plugins.kernels.{module}", raising=False)
        fresh.delattr(f"resnetbk_plugins.kernels.{module}", raising=False)
    caplog.set_level(logging.INFO, logger="resnetbk")
    assert backend.scans_for("cpu") is torch_scans
    assert chosen(caplog) == ["resolvent scans on cpu: torch"]


def test_a_kernel_that_does_not_run_is_named_and_replaced(fresh, caplog):
    pytest.importorskip("numba")
    from resnetbk_plugins.kernels import numba_kernels

    def broken(*_, **__):
        raise RuntimeError("no compiler")

    fresh.setattr(numba_kernels, "launch", broken)
    assert backend.scans_for("cpu") is torch_scans
    assert "numba does not work here: no compiler" in caplog.text


def everything(scans, name, inputs, out):
    forward = getattr(scans, name)(*inputs)
    return [*forward, *getattr(scans, name + "_adjoint")(inputs[1], *forward, *out)]


@pytest.fixture(params=["numba", "triton"])
def loops(request):
    """Each loop kernel that works here, with the device it serves."""
    pytest.importorskip(request.param)
    if request.param == "triton" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    module = importlib.import_module(f"resnetbk_plugins.kernels.{request.param}_scans")
    return module, "cuda" if request.param == "triton" else "cpu"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 130, 64), (1, 900, 130), (5, 65, 7), (1, 1, 1)])
def test_kernels_agree_with_torch_in_single_precision(name, shape, loops):
    fast, device = loops
    generator = torch.Generator().manual_seed(0)
    potential, u, *out = (torch.randn(shape, generator=generator).to(device) for _ in range(6))
    eta = 0.2 + torch.rand(shape[2], generator=generator).to(device)
    inputs = (potential, eta, u) if name == "resolvent" else (potential, eta)
    out = out if name == "resolvent" else out[:2]
    for a, b in zip(
        everything(fast, name, inputs, out), everything(torch_scans, name, inputs, out), strict=True
    ):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eta", [1.5, 1e-3, 1e-20])
@pytest.mark.parametrize("row", [0, 10])
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, 1e15, 1e20, -1e38, 0.0])
def test_kernels_agree_with_torch_on_what_is_finite(name, dtype, eta, bad, row, loops):
    """On 90 rows, of which torch computes several chunks if eta is large, with one that is extreme."""
    fast, device = loops
    generator = torch.Generator().manual_seed(0)
    potential, u, *out = torch.randn(6, 2, 90, 3, generator=generator).to(device, dtype)
    potential[0, row, 1] = bad
    inputs, out = [potential, potential.new_full((3,), eta)], out[:2] if name != "resolvent" else out
    inputs += [u] if name == "resolvent" else []
    pairs = zip(everything(fast, name, inputs, out), everything(torch_scans, name, inputs, out), strict=True)
    for number, (a, b) in enumerate(pairs):
        if (
            device == "cuda"
        ):  # whose chunks forget what is not finite: finite is at least what torch has finite
            assert bool((a.isfinite() | ~b.isfinite()).all()), number
        else:
            assert torch.equal(a.isfinite(), b.isfinite()), number


@pytest.mark.parametrize(
    "mixer", [BKCausal(), BKResolvent(), BKMoebius(), BKDiagonal()], ids=lambda m: type(m).__name__
)
def test_kernels_agree_with_torch_under_bfloat16_autocast(mixer, loops, fresh):
    _, device = loops
    torch.manual_seed(0)
    module = mixer.build(width=32, depth=1).to(device)
    torch.nn.init.normal_(module.output.weight, std=0.1)
    x, position = torch.randn(2, 300, 32, device=device), torch.arange(300, device=device).expand(2, 300)

    def result():
        with torch.autocast(device, dtype=torch.bfloat16):
            y = module(x, position, None)
        return y.float(), torch.autograd.grad(y.float().square().mean(), tuple(module.parameters()))

    y, gradients = result()
    fresh.setattr(backend, "_KERNELS", {})
    backend.forget()
    y_torch, gradients_torch = result()
    for a, b in zip((y, *gradients), (y_torch, *gradients_torch), strict=True):
        assert (a - b).abs().max() <= 2e-2 * b.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_numba_has_the_same_bits_for_any_company_and_thread_count(name):
    pytest.importorskip("numba")
    from resnetbk_plugins.kernels import numba_scans as scans

    threads = torch.get_num_threads()
    generator = torch.Generator().manual_seed(1)
    potential, u, *out = (torch.randn(2, 400, 96, generator=generator) for _ in range(6))
    eta = 0.2 + torch.rand(96, generator=generator)
    rest = [u] if name == "resolvent" else []
    out = out if name == "resolvent" else out[:2]
    together = everything(scans, name, (potential, eta, *rest), out)
    torch.set_num_threads(1)
    try:
        for a, b in zip(together, everything(scans, name, (potential, eta, *rest), out), strict=True):
            assert torch.equal(a, b)
    finally:
        torch.set_num_threads(threads)
    alone = getattr(scans, name)(potential[1:, :, 5:42], eta[5:42], *(x[1:, :, 5:42] for x in rest))
    for a, b in zip(together, alone, strict=False):
        assert torch.equal(a[1:, :, 5:42], b)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("eta", [1.0, 0.05])
def test_numba_in_chunks_is_exact_and_the_same_for_any_length_and_thread_count(name, eta, fresh):
    """Chunks of at least 256 rows, of which the last is not full; later rows may be NaN."""
    pytest.importorskip("numba")
    from resnetbk_plugins.kernels import numba_kernels, numba_scans

    cuts, launch, threads = [], numba_kernels.launch, torch.get_num_threads()
    fresh.setattr(numba_scans, "_ROWS", 256)
    fresh.setattr(numba_kernels, "launch", lambda *args, cut: cuts.append(cut) or launch(*args, cut=cut))
    length = (1200 if eta == 1.0 else 9001) * (1 + (name == "resolvent"))
    generator = torch.Generator().manual_seed(1)
    potential, u, *out = torch.randn(6, 2, length, 3, generator=generator)
    etas = torch.tensor([eta, 2 * eta, 1.0])
    rest, out = ([u], out) if name == "resolvent" else ([], out[:2])
    chunked = everything(numba_scans, name, (potential, etas, *rest), out)
    assert all(0 < early <= rows / 8 and rows < length for rows, early in cuts)
    wide = [[x.double() for x in part] for part in ((potential, etas, *rest), out)]
    exact = everything(torch_scans, name, *wide)
    for a, b in zip(chunked, exact, strict=True):
        assert (a - b).abs().max() <= 2e-6 / eta * b.abs().max()
    torch.set_num_threads(1)
    try:
        for a, b in zip(chunked, everything(numba_scans, name, (potential, etas, *rest), out), strict=True):
            assert torch.equal(a, b)
    finally:
        torch.set_num_threads(threads)
    if name == "two_sided":
        return
    before, rows = chunked[:4] if rest else chunked[:2], length - 300
    potential[:, rows:] = torch.nan
    for inputs in [(potential, etas, *rest), (potential[:, :rows], etas, *(x[:, :rows] for x in rest))]:
        for a, b in zip(before, getattr(numba_scans, name)(*inputs), strict=True):
            assert torch.equal(a[:, :rows], b[:, :rows])


def test_numba_streams_the_same_bits():
    pytest.importorskip("numba")
    from resnetbk_plugins.kernels import numba_scans

    potential, eta = torch.randn(2, 50, 19), 0.1 + torch.rand(19)
    state = (torch.zeros(2, 19), torch.zeros(2, 19))
    g_real, g_imag = numba_scans.one_sided(potential, eta)
    for i in range(50):
        state = torch_scans.ratio_step(potential[:, i], eta, *state)
        assert torch.equal(state[0], g_real[:, i])
        assert torch.equal(state[1], g_imag[:, i])


def test_goes_through_the_compiler_in_one_piece():
    def loss(potential: torch.Tensor, eta: torch.Tensor) -> torch.Tensor:
        g_real, g_imag = one_sided(potential, eta)
        return (g_real * g_imag).sum()

    potential, eta = torch.randn(2, 9, 3, requires_grad=True), torch.ones(3)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    (gradient,) = torch.autograd.grad(compiled(potential, eta), potential)
    (expected,) = torch.autograd.grad(loss(potential, eta), potential)
    torch.testing.assert_close(gradient, expected)


FORKED = """
import logging, os, sys, torch
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from resnetbk_plugins.kernels import one_sided, torch_scans
potential, eta = torch.randn(4, 300, 200), torch.ones(200)
one_sided(potential, eta)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
torch.set_num_threads(1)  # torch's own threads do not outlive a fork either
for shift in (1, 2):
    for a, b in zip(one_sided(potential + shift, eta), torch_scans.one_sided(potential + shift, eta)):
        assert torch.equal(a, b)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_forked_process_computes_the_same_with_one_warning(layer):
    pytest.importorskip("numba")
    env = os.environ | {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    (warning,) = (line for line in done.stdout.splitlines() if "compiles" not in line)
    assert "forked from one that had run numba" in warning
