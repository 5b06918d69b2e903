"""A training step with bk-causal against one with attention: python benchmarks/training_step.py

Width 256, depth 4, 16384 tokens per step, forward and backward, at parameter counts equal within 5 %. Prints
medians and paired ratios, and writes docs/scaling.svg (time per token by context length).
"""

from __future__ import annotations

import sys

import torch
from paired import median, paired, ratio

from resnetbk.kinds import Batch
from resnetbk.model.assemble import assemble
from resnetbk.model.language_model import LanguageModel
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk.training.objective import objective

SPEC = """
name = "step"
[data]
corpus = "python-docs"
[model]
width = 256
depth = 4
mixer = {mixer}
[train]
steps = 1
"""
MIXERS = {
    "attention": '{ use = "attention", heads = 4 }',
    "bk-causal": '{ use = "bk-causal", chains = 341 }',
    "bk-resolvent": '{ use = "bk-resolvent", chains = 170 }',
    "gated-linear": '{ use = "gated-linear", heads = 4, keys = 32 }',
}
TOKENS = 16384
LENGTHS = (256, 1024, 2048, 4096, 8192)


def build(mixer: str) -> LanguageModel:
    return assemble(
        read_text(SPEC.replace("{mixer}", mixer), Registry.discover()).model, vocabulary=256, seed=0
    )


def step(model: LanguageModel, batch: Batch, precision: str) -> None:
    result, _ = objective(model, batch, precision)
    result.loss.backward()
    for parameter in model.parameters():
        parameter.grad = None


def picture(measured: dict[str, list[float]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, seconds in measured.items():
        axes.plot(LENGTHS, [1e6 * s / TOKENS for s in seconds], marker="o", label=name)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="window, tokens (log scale)",
        ylabel="training step, µs per token (log scale)",
    )
    axes.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
    ticks = [150, 200, 300, 400, 600]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig("docs/scaling.svg", metadata={"Date": None})


def main(precision: str) -> None:
    models = {name: build(mixer) for name, mixer in MIXERS.items()}
    for name, model in models.items():
        print(f"{name:14} {model.parameter_count():,} parameters")
    measured: dict[str, list[float]] = {name: [] for name in models}
    for length in LENGTHS:
        tokens = torch.randint(256, (TOKENS // length, length + 1))
        batch = Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
        runs = {
            name: (lambda model=model, batch=batch: step(model, batch, precision))
            for name, model in models.items()
        }
        seconds = paired(runs, rounds=3)
        print(f"\nwindow {length}, {precision}, {torch.get_num_threads()} threads")
        for name in models:
            measured[name].append(median(seconds[name]))
            versus = ratio(seconds["attention"], seconds[name])
            print(f"  {name:14} {1000 * measured[name][-1]:9.0f} ms   attention takes {versus}")
    if precision == "fp32":
        picture(measured)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fp32")
