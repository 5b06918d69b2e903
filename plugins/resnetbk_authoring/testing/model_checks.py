"""Checks of the components of a model, in a small model in float64."""

from __future__ import annotations

import copy
import math
from collections import Counter
from functools import partial
from typing import cast

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from resnetbk.kinds import Batch
from resnetbk.model.language_model import LanguageModel
from resnetbk.model.passes import LayerStatistics
from resnetbk.model.weights import declared_roles
from resnetbk.training.objective import objective
from resnetbk_authoring.testing.subject import VOCABULARY, WIDTH, Subject, require, same, seeded, text

LENGTHS = (1, 2, 3, 7, 16, 1100)
"""The last one is beyond the tables of positions that are usual."""


def shapes(subject: Subject) -> None:
    """Logits are (B, N, V), finite, and of the type of the weights."""
    _sound(subject.model(), 13)


def any_length(subject: Subject) -> None:
    """Logits are finite for a single token, and for more tokens than tables of positions usually have."""
    model = subject.model()
    for length in LENGTHS:
        _sound(model, length)


def _sound(model: LanguageModel, length: int) -> None:
    with torch.no_grad():
        logits = model(text(length)).logits
    require(logits.shape == (2, length, VOCABULARY), f"{tuple(logits.shape)} for {length} tokens")
    require(logits.dtype == torch.float64, f"{logits.dtype} where weights are float64")
    require(torch.isfinite(logits).all(), f"not finite for {length} tokens")


def causal(subject: Subject) -> None:
    """Later tokens change nothing, in training or after it.

    Nor do later rows that are not finite: a mask that multiplies by zero lets them through.
    """
    for training in (False, True):
        mode = "in training" if training else "once trained"
        model = subject.model().train(training)
        for length in (9, 23):
            tokens = text(length)
            whole = _logits(model, tokens)
            for cut in range(1, length, 3):
                other = torch.cat([tokens[:, :cut], text(length - cut, seed=cut)], 1)
                what = f"{mode}, rows before token {cut} changed with it"
                same(whole[:, :cut], _logits(model, other)[:, :cut], what)
    model, tokens, later = subject.model(), text(23), torch.arange(23)[:, None] >= 20
    whole, embedding = _logits(model, tokens), cast(nn.Module, model.embedding)
    embedding.register_forward_hook(lambda *call: call[-1].masked_fill(later, math.nan))
    same(_logits(model, tokens)[:, :20], whole[:, :20], "rows before one that is not finite changed with it")


def bidirectional(subject: Subject) -> None:
    """Its rows depend on what comes later."""
    mixer, position = subject.build(), torch.arange(12).repeat(2, 1)
    x = torch.randn(2, 12, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    other = x.clone()
    other[:, 8:] += 1.0
    apart = (mixer(x, position, None) - mixer(other, position, None))[:, :8].abs().max()
    require(apart > 1e-6, "no row changed when later ones did")


def streaming(subject: Subject) -> None:
    """One token at a time, with carried state, gives the logits of a whole pass."""
    model = subject.model()
    tokens = text(23)
    state, stepped = model.initial_state(2), []
    with torch.no_grad():
        for at in range(tokens.shape[1]):
            logits, state = model.step(tokens[:, at], state)
            stepped.append(logits)
        same(torch.stack(stepped, 1), model(tokens).logits, "step by step and in one pass")


def batch_independent(subject: Subject) -> None:
    """A sequence does not depend on the others in its batch."""
    model, tokens = subject.model(), text(21, batch=3)
    together = model(tokens).logits
    for i in range(3):
        same(together[i : i + 1], model(tokens[i : i + 1]).logits, f"sequence {i} with others and alone")


def reproducible(subject: Subject) -> None:
    """The same seed gives the same weights, and the same pass the same logits, in training too."""
    model, tokens = subject.model(stirred=False), text(19)
    again = subject.model(stirred=False)
    same(again.state_dict(), model.state_dict(), "two models of the same seed", 0.0)
    for training in (False, True):
        model.train(training)
        same(_logits(model, tokens), _logits(model, tokens), "the same pass, done twice", 0.0)


def gradients(subject: Subject) -> None:
    """Some steps of training give every parameter a gradient: finite, and not always zero."""
    model = subject.model().train()
    own = {f"{at}.{name}": p for at, part in subject.within(model) for name, p in part.named_parameters()}
    fresh = subject.within(subject.model(stirred=False))
    for (_, part), (_, other) in zip(subject.within(model), fresh, strict=True):
        part.load_state_dict(other.state_dict())
    optimizer, silent = torch.optim.SGD(model.parameters(), lr=0.1), dict.fromkeys(own)
    for step in range(12):
        model.anneal(step / 12)
        _learn(model, text(33, seed=step, batch=4))
        for name, parameter in own.items():
            if parameter.grad is not None:
                gradient = parameter.grad.to_dense()
                require(torch.isfinite(gradient).all(), f"the gradient of {name} is not finite")
                if gradient.any():
                    silent.pop(name, None)
        optimizer.step()
        optimizer.zero_grad()
    require(not silent, f"no gradient reaches {', '.join(silent)}")


def roles(subject: Subject) -> None:
    """Weights of two and more dimensions say what they are: an optimizer must not take them for vectors."""
    for at, part in subject.within(subject.model()):
        for name, parameter, role in declared_roles(part):
            require(
                role or parameter.ndim < 2,
                f"{at}.{name} of shape {tuple(parameter.shape)} says no role; write with_role(..., 'matrix')",
            )


def saved(subject: Subject) -> None:
    """Its state goes through safetensors and comes back bit for bit."""
    model = subject.model()
    tensors = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    other = subject.model(seed=1)
    other.load_state_dict(load(save(tensors)))
    same(other(text(17)).logits, model(text(17)).logits, "a model loaded from the file of another", 0.0)


def half_precision(subject: Subject) -> None:
    """Under autocast to bf16 losses and gradients are finite, in training and after it."""
    model = subject.model().float()
    model.anneal(0.5)
    # 13 x 159 rows: so many that packed ones get spare ones (`Packing`), and odd, as round ones get none
    tokens = text(160, batch=13)
    for training in (True, False):
        _learn(model.train(training), tokens, "bf16")
    gradients = {name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None}
    bad = [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]
    require(not bad, f"not finite under bf16: {', '.join(bad)}")


def skipped_rows(subject: Subject) -> None:
    """The rows that it claims to skip are not computed: counted where mixers run, within 2 %."""
    for training in (False, True):
        model = subject.model().train(training)
        executed = _counted(model)
        tokens = text(48, batch=4)
        with seeded():
            output = model(tokens)
        for half in ("mixer", "channel"):
            claimed = {layer.layer: _rows(layer, getattr(layer, half)) for layer in output.layers}
            apart = sum(abs(executed[half, layer] - rows) for layer, rows in claimed.items())
            computed = [executed[half, layer] for layer in claimed]
            what = f"{half} rows: claims to compute {[*claimed.values()]}, computed {computed}"
            require(apart <= 0.02 * sum(claimed.values()), what)


def _counted(model: LanguageModel) -> Counter[tuple[str, int]]:
    """How many rows "mixer" and "channel" of each layer are given, padding apart, as the model goes on."""
    executed = Counter[tuple[str, int]]()

    def count(key: tuple[str, int], _: object, given: tuple[Tensor, ...]) -> None:
        length = given[2] if given[2:] else None  # of a mixer; it is None if all rows are real
        executed[key] += given[0].shape[:-1].numel() if length is None else int(length.sum())

    for number, layer in enumerate(model.trunk.layers):
        for half in ("mixer", "channel"):
            getattr(layer, half).register_forward_pre_hook(partial(count, (half, number)))
    return executed


def empty_batch(subject: Subject) -> None:
    """No sequences, and sequences of one row, pass."""
    model = subject.model()
    for batch in (0, 1):
        logits = model(text(1, batch=batch)).logits
        require(logits.shape == (batch, 1, VOCABULARY), f"{tuple(logits.shape)} for {batch} sequences")


def _logits(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Of a pass that leaves no trace in the model, which may learn from passes in training."""
    with seeded():
        logits: Tensor = copy.deepcopy(model)(tokens).logits
    return logits


def _rows(layer: LayerStatistics, mask: Tensor | None) -> int:
    """How many rows a half of a layer claims to have computed, by its mask in a layer."""
    if mask is not None:
        return int(mask.sum())
    return int(layer.length.sum()) if layer.length is not None else layer.position.numel()


def _learn(model: LanguageModel, tokens: Tensor, precision: str = "fp32") -> None:
    result, _ = objective(model, Batch(tokens[:, :-1], tokens[:, 1:]), precision)
    require(torch.isfinite(result.loss), f"the loss is {result.loss.item()}")
    result.loss.backward()  # type: ignore[no-untyped-call]
