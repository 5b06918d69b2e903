"""The weights of a deeper and wider model from those of a smaller one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from resnetbk.model.assemble import assemble
from resnetbk.runs.checkpoint import load_weights
from resnetbk_plugins.initializer.parent import ParentRun

LAYER = re.compile(r"trunk\.layers\.([0-9]+)\.(.+)")
TOKENS = 32
"""Length of the text on which two models are compared."""

ROUNDING = 1e-3
"""Largest difference between logits, in standard deviations of the logits, that counts as rounding."""


def deepened(
    weights: Mapping[str, Tensor], before: int, depth: int, order: str, round_: int = 1,
    distinct: int | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """The same weights with `depth` layers copied from `before`, both whole rounds of so many layers; see
    `Grow` for the orders. Of layers that begin again, `weights` have the first ones, and get `distinct`."""
    own = len({match[1] for match in map(LAYER.fullmatch, weights) if match})
    old, new = before // round_, depth // round_
    rounds = [i % old if order == "stack" else i * old // new for i in range(new)]
    origin = [round_ * number + i for number in rounds for i in range(round_)]
    grown = {name: tensor for name, tensor in weights.items() if not LAYER.fullmatch(name)}
    for layer, original in enumerate(origin[:distinct]):
        identity = order == "identity" and original in origin[:layer]
        for name, tensor in weights.items():
            match = LAYER.fullmatch(name)
            if match and int(match[1]) == original % own:
                is_output = match[2].split(".")[-2:-1] == ["output"]
                grown[f"trunk.layers.{layer}.{match[2]}"] = tensor * 0 if identity and is_output else tensor
    return grown


def widened(weights: Mapping[str, Tensor], model: Any, before: int, width: int) -> dict[str, Tensor]:
    """The weights of a model of `before` features, in the shapes that `model`, of `width` features, has.

    A tensor that is larger than the model's in some dimension is left unchanged.
    """
    if before == width:
        return dict(weights)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    linear = {f"{n}.weight" for n, module in model.named_modules() if isinstance(module, nn.Linear)}
    grown = {
        name: _widened(name, tensor, shapes[name], before, width, name in linear)
        if name in shapes
        else tensor
        for name, tensor in weights.items()
    }
    if model.head is None and "norm.weight" in grown:
        # the head is the table itself, whose features are copies: it is divided before they are added up
        gain = grown["norm.weight"]
        grown["norm.weight"] = _shared(gain[None], _copies(before, width, before, width), before)[0]
    return grown


def _widened(name: str, x: Tensor, shape: torch.Size, before: int, width: int, linear: bool) -> Tensor:
    if x.ndim != len(shape):
        return x
    by_token = name.startswith("embedding.") or name == "head.weight"
    dims = [d for d in range(x.ndim) if x.shape[d] != shape[d] and not (by_token and d == 0)]
    if any(x.shape[d] > shape[d] for d in dims):
        return x
    # a matrix outside of a Linear that grows in both dimensions is one that rows are multiplied by
    inputs = x.ndim == 2 and 1 in dims and (linear or (dims == [0, 1] and not by_token))
    for d in dims:
        size = x.shape[d]
        index = _copies(size, shape[d], before, width)
        x = x.index_select(d, index)
        if d == 1 and inputs:
            x = _shared(x, index, size)
    return x


def _copies(size: int, new: int, before: int, width: int) -> Tensor:
    """(new,): the old index that each new index copies. Of k rows of features end to end, each is widened."""
    rows = size // before
    if size == rows * before and new == rows * width:
        within = torch.arange(width) % before
        return (torch.arange(rows)[:, None] * before + within).flatten()
    return torch.arange(new) % size


def _shared(x: Tensor, index: Tensor, size: int) -> Tensor:
    """(R, n) columns that are copies, by `index` (n,), of `size` old columns, scaled so that the copies add
    up to the old column, in random proportions that differ for each row."""
    raw = 1.0 - torch.rand(x.shape, dtype=x.dtype)  # never zero
    total = raw.new_zeros(x.shape[0], size).index_add_(1, index, raw)
    return x * (raw / total.index_select(1, index))


@torch.no_grad()
def difference(model: Any, parent: ParentRun) -> str:
    """A line about the difference between the logits of a model and of its parent run. Leaves torch's
    generators alone."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        small = assemble(parent.spec.model, vocabulary=parent.tokenizer.vocabulary, seed=0)
        load_weights(small, parent.weights, parent.path)  # type: ignore[arg-type]
        tokens = torch.randint(parent.tokenizer.vocabulary, (1, min(TOKENS, parent.spec.data.window)))
        training = model.training
        logits, expected = model.eval()(tokens).logits, small.eval()(tokens).logits
        model.train(training)
    largest = float((logits - expected).abs().max()) / max(float(expected.std()), 1e-12)
    verdict = "keeps" if largest <= ROUNDING else "does not keep"
    return f"{verdict} the parent run's function: logits differ by up to {largest:.2g} standard deviations"
