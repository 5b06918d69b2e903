"""The time that skipped work saves: python benchmarks/skipping.py [fp32|bf16]

Width 256, depth 4, 16 windows of 256 tokens; interleaved timings and paired ratios: a gate at several
densities, rows that halt, a coarser scale, and the overhead of the trunk without skipping, against a loop
over its layers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from paired import median, paired, ratio
from torch import Tensor

from resnetbk.kinds import Batch
from resnetbk.model.assemble import assemble
from resnetbk.model.language_model import LanguageModel
from resnetbk.model.passes import WindowPass
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk.training.objective import autocast, objective

SPEC = """
name = "skipping"
[data]
corpus = "python-docs"
[model]
width = 256
depth = 4
mixer = {mixer}
{policy}
[train]
steps = 1
"""
MIXERS = {
    "bk-causal": '{ use = "bk-causal", chains = 341 }',
    "attention": '{ use = "attention", heads = 4 }',
}
DENSITIES = {"3/4": 0.75, "1/2": 0.5, "1/4": 0.25}
BATCH, WINDOW, WARM, ROUNDS = 16, 256, 8, 11


def build(mixer: str, policy: str = "") -> LanguageModel:
    text = SPEC.replace("{mixer}", MIXERS[mixer]).replace("{policy}", policy)
    return assemble(read_text(text, Registry.discover()).model, vocabulary=256, seed=0)


def looped(model: LanguageModel) -> LanguageModel:
    """The same model with a trunk that only loops over its layers."""
    trunk = model.trunk

    def forward(x: Tensor, tokens: Tensor, position: Tensor) -> tuple[Tensor, WindowPass]:
        flat = x.flatten(0, 1)
        for layer in trunk.layers:
            flat, _ = layer(
                flat,
                lambda h, layer=layer: layer.mixer(h.view(x.shape), position, None).flatten(0, 1),
            )
        return flat.view(x.shape), WindowPass(trunk.resolution, trunk.gate, tokens)

    trunk.forward = forward
    return model


def step(model: LanguageModel, batch: Batch, precision: str) -> None:
    """A training step without its update."""
    result, _ = objective(model.train(), batch, precision)
    result.loss.backward()
    for parameter in model.parameters():
        parameter.grad = None


def forward_pass(model: LanguageModel, batch: Batch, precision: str) -> None:
    with torch.inference_mode(), autocast(batch.inputs.device, precision):
        model.eval()(batch.inputs)


def share(model: LanguageModel, batch: Batch, training: bool) -> float:
    """The share of rows computed, of one per token and layer. A loop has no statistics, and computes all."""
    with torch.no_grad():
        rows = model.train(training)(batch.inputs).rows
    return sum(rows) / (len(rows) * batch.inputs.numel()) if rows else 1.0


def table(
    title: str,
    models: dict[str, LanguageModel],
    run: Callable[[LanguageModel, Batch, str], None],
    batch: Batch,
    precision: str,
) -> None:
    """Prints times and speedups; the first model is the baseline."""
    for model in models.values():  # half-precision products are compiled for each number of rows
        for _ in range(WARM):
            run(model, batch, precision)
    seconds = paired({name: (lambda m=m: run(m, batch, precision)) for name, m in models.items()}, ROUNDS)
    first = next(iter(models))
    print(f"\n{title}, {precision}, {torch.get_num_threads()} threads")
    for name, model in models.items():
        rows = share(model, batch, run is step)
        faster = "" if name == first else f"   faster than {first} {ratio(seconds[first], seconds[name])}"
        print(f"  {name:22} {1000 * median(seconds[name]):7.0f} ms   rows {rows:4.0%}{faster}", flush=True)


def main(precision: str) -> None:
    tokens = torch.randint(256, (BATCH, WINDOW + 1), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    everywhere = 'scope = "layer", layers = [0, 1, 2, 3]'
    for mixer in MIXERS:
        gates = {
            name: build(mixer, f'gate = {{ use = "random", keep = {keep}, {everywhere} }}')
            for name, keep in DENSITIES.items()
        }
        models = {"1": build(mixer), **gates}
        table(f"{mixer}: a step with a gate of this density", models, step, batch, precision)
    for mixer in MIXERS:
        halting = build(mixer, 'halting = { use = "random", layers = 2.77 }')
        models = {"all layers": build(mixer), "70 % of the layers": halting}
        table(f"{mixer}: a forward pass in which rows halt", models, forward_pass, batch, precision)
    for mixer in MIXERS:
        hourglass = build(mixer, 'resolution = { use = "hourglass", layers = [1, 2, 1], factor = 4 }')
        models = {"flat": build(mixer), "hourglass 1, 2, 1": hourglass}
        table(f"{mixer}: a step at two scales", models, step, batch, precision)
    for mixer in MIXERS:
        models = {"the trunk": build(mixer), "a loop": looped(build(mixer))}
        table(f"{mixer}: a step without policies", models, step, batch, precision)


if __name__ == "__main__":
    for precision in sys.argv[1:] or ("fp32", "bf16"):
        main(precision)
