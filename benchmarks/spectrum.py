"""The learned spectrum of a run: python benchmarks/spectrum.py runs/quickstart

Draws each chain's energy and eta before and after training, layer by layer, into docs/spectrum.svg.
"""

from __future__ import annotations

import sys

import matplotlib
import torch.nn.functional as F

import resnetbk
from resnetbk.model.assemble import assemble

matplotlib.use("svg")
from matplotlib import pyplot

run = resnetbk.open_run(sys.argv[1])
start = assemble(run.spec.model, vocabulary=run.tokenizer.vocabulary, seed=run.spec.seed)
layers = list(zip(run.model.trunk.layers, start.trunk.layers, strict=True))
figure, axes = pyplot.subplots(
    1, len(layers), figsize=(2.6 * len(layers), 3), sharey=True, layout="constrained"
)
for number, (axis, (trained, fresh)) in enumerate(zip(axes, layers, strict=True)):
    for layer, style in ((fresh, {"color": "0.7", "s": 6}), (trained, {"color": f"C{number}", "s": 12})):
        spectrum = layer.mixer.spectrum
        axis.scatter(spectrum.energy.detach(), F.softplus(spectrum.raw_eta).detach(), **style)
    axis.set(title=f"layer {number}", xlabel="energy E")
    axis.grid(alpha=0.3)
axes[0].set_ylabel("eta")
figure.suptitle("grey: at the start · colour: trained", fontsize=9)
figure.savefig("docs/spectrum.svg", metadata={"Date": None})
