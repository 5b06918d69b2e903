"""Influence of a site on the diagonal over distance: python benchmarks/influence.py

Draws |dG_ii / dv_j| against |i - j| for several eta, with and without disorder, with the proven bound of
the one-sided ratios, into docs/influence.svg.
"""

from __future__ import annotations

import math

import matplotlib
import torch

from resnetbk_plugins.kernels import two_sided

matplotlib.use("svg")
from matplotlib import pyplot

SITES, MIDDLE, FAR = 401, 200, 60


def influence(eta: float, disorder: float) -> torch.Tensor:
    """(FAR,) |dG_ii/dv_j| at distances 0 to FAR - 1, a root mean square over 64 chains."""
    torch.manual_seed(0)
    potential = (disorder * torch.randn(1, SITES, 64, dtype=torch.float64)).requires_grad_()
    real, imag = two_sided(potential, torch.full((64,), eta, dtype=torch.float64))
    slopes = [torch.autograd.grad(x[0, MIDDLE].sum(), potential, retain_graph=True)[0] for x in (real, imag)]
    size = torch.hypot(*slopes)[0, MIDDLE : MIDDLE + FAR]
    return size.square().mean(1).sqrt()


figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
for number, eta in enumerate((0.02, 0.1, 0.5, 1.5)):
    color = f"C{number}"
    axes.semilogy(influence(eta, 0.0), color=color, label=f"eta = {eta}")
    axes.semilogy(influence(eta, 1.0), color=color, linestyle="--")
    rate = math.asinh(eta)
    bound = [math.exp(-rate * distance) / eta**2 for distance in range(FAR)]  # distance + 1 rows
    axes.semilogy(bound, color=color, alpha=0.25, linewidth=4)
axes.set(xlabel="distance |i − j| in rows", ylabel="|dG_ii / dv_j| (log scale)", ylim=(1e-16, 1e5))
axes.set_title("lines: clean · dashes: disordered (v ~ N(0, 1)) · pale: bound", fontsize=9)
axes.grid(alpha=0.3)
axes.legend(frameon=False)
figure.savefig("docs/influence.svg", metadata={"Date": None})
