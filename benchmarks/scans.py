"""How fast the scans run on a CPU: python benchmarks/scans.py; on CUDA: gpu.py

Chain-steps are rows times chains times sequences. The baseline of every ratio, a Python loop over the rows
with torch operators, runs in the same rounds.
"""

from __future__ import annotations

import torch
from paired import median, paired, ratio

from resnetbk_plugins.kernels import one_sided, torch_scans
from resnetbk_plugins.kernels.backend import scans_for

torch.manual_seed(0)


def loop(potential: torch.Tensor, eta: torch.Tensor) -> torch.Tensor:
    a, g, rows = torch.complex(potential, -eta.expand_as(potential)), 0, []
    for i in range(potential.shape[1]):
        g = 1 / (a[:, i] - g)
        rows.append(g)
    return torch.stack(rows, 1)


def loop_backward(potential: torch.Tensor, eta: torch.Tensor) -> None:
    potential = potential.clone().requires_grad_()
    g = loop(potential, eta)
    (g.real + g.imag).sum().backward()


def scan_backward(potential: torch.Tensor, eta: torch.Tensor) -> None:
    potential, eta = potential.clone().requires_grad_(), eta.clone().requires_grad_()
    real, imag = one_sided(potential, eta)
    (real + imag).sum().backward()


def report(shape: tuple[int, int, int], *, with_loop: bool = True) -> None:
    batch, length, chains = shape
    potential, eta = torch.randn(shape), torch.linspace(0.5, 1.7, chains)
    fast = scans_for("cpu")
    g = fast.one_sided(potential, eta)
    out = torch.randn(shape), torch.randn(shape)
    repeat = max(1, 4_000_000 // potential.numel())

    def forward() -> None:
        for _ in range(repeat):
            fast.one_sided(potential, eta)

    def backward() -> None:
        for _ in range(repeat):
            fast.one_sided_adjoint(eta, *g, *out)

    candidates = {
        "forward": forward,
        "backward": backward,
        "torch": lambda: torch_scans.one_sided(potential, eta),
        "torch backward": lambda: torch_scans.one_sided_adjoint(eta, *g, *out),
    }
    if with_loop:
        candidates["loop"] = lambda: loop(potential, eta)
        candidates["loop backward"] = lambda: loop_backward(potential, eta)
        candidates["scan, both ways"] = lambda: scan_backward(potential, eta)
    seconds = paired(candidates)
    for name in ("forward", "backward"):
        seconds[name] = [s / repeat for s in seconds[name]]
    steps = batch * length * chains
    print(f"\n({batch}, {length}, {chains}), float32, {torch.get_num_threads()} threads")
    for name in ("forward", "backward", "torch", "torch backward"):
        print(f"  {name:24} {steps / median(seconds[name]) / 1e9:6.2f} G chain-steps/s")
    print(f"  backward / forward      {ratio(seconds['backward'], seconds['forward'])}")
    if with_loop:
        print(f"  loop / forward          {ratio(seconds['loop'], seconds['forward'])}")
        print(f"  loop / torch            {ratio(seconds['loop'], seconds['torch'])}")
        print(f"  both ways, loop / scan  {ratio(seconds['loop backward'], seconds['scan, both ways'])}")


def report_linear(name: str, batch: int, length: int, chains: int) -> None:
    """`diagonal`, or `transfer`, whose rows are quaternions."""
    fast, shape = scans_for("cpu"), (batch, length, chains)
    row = (4,) if name == "transfer" else ()
    f, q, x, out = torch.rand(shape), *torch.randn(3, batch, length, *row, chains)
    factors = (f, q) if name == "transfer" else (f,)
    forward, backward = getattr(fast, name), getattr(fast, name + "_adjoint")
    y = forward(*factors, x)
    seconds = paired(
        {"forward": lambda: forward(*factors, x), "backward": lambda: backward(*factors, y, out)}, rounds=15
    )
    print(f"\n{name} {shape}, float32, {torch.get_num_threads()} threads")
    for way in ("forward", "backward"):
        print(f"  {way:24} {f.numel() / median(seconds[way]) / 1e9:6.2f} G chain-steps/s")


if __name__ == "__main__":
    for scan in ("transfer", "diagonal"):
        report_linear(scan, 32, 256, 64)
        report_linear(scan, 1, 65536, 32)
    report((32, 256, 64))
    report((16, 64, 128))
    report((4, 2048, 64))
    report((64, 2048, 128), with_loop=False)
    report((1, 65536, 32), with_loop=False)  # one sequence, few chains: cut into chunks of rows
