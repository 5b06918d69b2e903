"""Checks of the components of a model, in a small one in float64: what is not kept shows in what it gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from safetensors.torch import load, save
from torch import Tensor

from resnetbk.kinds import Batch
from resnetbk.model.language_model import LanguageModel
from resnetbk.model.trunk import Visit
from resnetbk.testing.subject import VOCABULARY, Subject, require, same, seeded, stir, text
from resnetbk.training.objective import objective

LENGTHS = (1, 2, 3, 7, 16, 29)


def shapes(subject: Subject) -> None:
    """Logits are (B, N, V), finite, and of the type of the weights."""
    model = subject.model()
    for length in LENGTHS if subject.claims("any-length") else LENGTHS[-1:]:
        logits = model(text(length)).logits
        require(logits.shape == (2, length, VOCABULARY), f"{tuple(logits.shape)} for {length} tokens")
        require(logits.dtype == torch.float64, f"{logits.dtype} where weights are float64")
        require(torch.isfinite(logits).all(), f"not finite for {length} tokens")


def causal(subject: Subject) -> None:
    """Later tokens change nothing, in training or after it."""
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


def bidirectional(subject: Subject) -> None:
    """Its rows depend on what comes later."""
    mixer, x, position = _mixer(subject, 12)
    other = x.clone()
    other[:, 8:] += 1.0
    apart = (mixer(x, position, None) - mixer(other, position, None))[:, :8].abs().max()
    require(apart > 1e-6, "no row changed when later ones did")


def streaming(subject: Subject) -> None:
    """One token at a time, with carried state, gives the numbers of a whole pass."""
    model = subject.model()
    tokens = text(23)
    state, stepped = model.initial_state(2), []
    with torch.no_grad():
        for at in range(tokens.shape[1]):
            logits, state = model.step(tokens[:, at], state)
            stepped.append(logits)
        same(torch.stack(stepped, 1), model(tokens).logits, "step by step and in one pass")


def alone(subject: Subject) -> None:
    """A sequence does not depend on the others in its batch."""
    model, tokens = subject.model(), text(21, batch=3)
    together = model(tokens).logits
    for i in range(3):
        same(together[i : i + 1], model(tokens[i : i + 1]).logits, f"sequence {i} with others and alone")


def ragged(subject: Subject) -> None:
    """Packed rows of different lengths come out as if each were alone."""
    mixer, x, position = _mixer(subject, 12)
    length = torch.tensor([5, 12])
    packed = mixer(x, position, length)
    for i, real in enumerate(length.tolist()):
        own = mixer(x[i : i + 1, :real], position[i : i + 1, :real], None)
        same(packed[i : i + 1, :real], own, f"a sequence of {real} rows, packed and alone")


def seeds(subject: Subject) -> None:
    """The same seed gives the same weights, and the same pass the same numbers, in training too."""
    one, other = subject.model(stirred=False), subject.model(stirred=False)
    for (name, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        require(torch.equal(a, b), f"{name} differs between two models of one seed")
    tokens = text(19)
    for training in (False, True):
        one.train(training)
        require(torch.equal(_logits(one, tokens), _logits(one, tokens)), "the same pass came out otherwise")


def gradients(subject: Subject) -> None:
    """Some steps of training give each of its parameters a gradient: finite, and not always zero."""
    model = subject.model().train()
    own = {f"{at}.{name}": p for at, part in subject.within(model) for name, p in part.named_parameters()}
    fresh = subject.within(subject.model(stirred=False))
    for (_, part), (_, other) in zip(subject.within(model), fresh, strict=True):
        part.load_state_dict(other.state_dict())
    reached = dict.fromkeys(own, False)
    for step in range(12):
        model.anneal(step / 12)
        _learn(model, seed=step)
        for name, parameter in own.items():
            if parameter.grad is not None:
                gradient = parameter.grad.to_dense()
                require(torch.isfinite(gradient).all(), f"the gradient of {name} is not finite")
                reached[name] |= bool(gradient.abs().max() > 0)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.1 * parameter.grad.to_dense())
                parameter.grad = None
    silent = [name for name, found in reached.items() if not found]
    require(not silent, f"no gradient reaches {', '.join(silent)}")


def saved(subject: Subject) -> None:
    """Its state goes through safetensors and comes back bit for bit."""
    model = subject.model()
    tensors = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    other = subject.model(seed=1)
    other.load_state_dict(load(save(tensors)))
    require(torch.equal(model(text(17)).logits, other(text(17)).logits), "what was loaded answers otherwise")


def half_precision(subject: Subject) -> None:
    """Under autocast to bf16 losses and gradients are finite."""
    model = subject.model().float().train()
    model.anneal(0.5)
    _learn(model, "bf16")
    gradients = {name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None}
    bad = [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]
    require(not bad, f"not finite under bf16: {', '.join(bad)}")


def skipped(subject: Subject) -> None:
    """As many rows as it claims to skip are really not computed: counted where layers run, within 2 %."""
    for training in (False, True):
        model = subject.model().train(training)
        executed = _counted(model)
        tokens = text(48, batch=4)
        output = seeded(partial(model, tokens))
        claimed = [_channel_rows(visit) for visit in output.visits]
        apart = [abs(a - b) for a, b in zip(executed, claimed, strict=True)]
        require(sum(apart) <= 0.02 * sum(claimed), f"claims to compute {claimed} rows, computed {executed}")


def _counted(model: LanguageModel) -> list[int]:
    """Rows that each layer's channel mixer has computed, as it goes on."""
    executed = [0] * len(model.trunk.layers)

    def counter(number: int) -> Callable[..., None]:
        def count(_: object, given: tuple[Tensor, ...]) -> None:
            executed[number] += given[0].shape[0]

        return count

    for number, layer in enumerate(model.trunk.layers):
        layer.channel.register_forward_pre_hook(counter(number))
    return executed


def no_rows(subject: Subject) -> None:
    """No sequences, and sequences of one row, pass."""
    model = subject.model()
    for batch in (0, 1):
        logits = model(text(1, batch=batch)).logits
        require(logits.shape == (batch, 1, VOCABULARY), f"{tuple(logits.shape)} for {batch} sequences")


def _logits(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Of a pass that leaves no trace in the model, which may learn from passes in training."""
    logits: Tensor = seeded(lambda: copy.deepcopy(model)(tokens).logits)
    return logits


def _channel_rows(visit: Visit) -> int:
    if visit.channel is not None:
        return int(visit.channel.sum())
    return int(visit.length.sum()) if visit.length is not None else visit.position.numel()


def _mixer(subject: Subject, rows: int) -> tuple[torch.nn.Module, Tensor, Tensor]:
    mixer = subject.build().double().eval()
    stir(mixer)
    x = torch.randn(2, rows, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return mixer, x, torch.arange(rows).repeat(2, 1)


def _learn(model: LanguageModel, precision: str = "fp32", seed: int = 0) -> None:
    tokens = text(33, seed, batch=4)
    result, _ = objective(model, Batch(tokens[:, :-1], tokens[:, 1:]), precision)
    require(torch.isfinite(result.loss), f"the loss is {result.loss.item()}")
    result.loss.backward()  # type: ignore[no-untyped-call]
