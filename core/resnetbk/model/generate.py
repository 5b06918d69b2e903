"""Sampling text from a model, one token at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from resnetbk.errors import NumericError
from resnetbk.model.language_model import LanguageModel


@torch.inference_mode()
def generate(
    model: LanguageModel, prompt: Sequence[int], tokens: int, *, window: int, temperature: float, seed: int
) -> Iterator[int]:
    """Yields `tokens` new tokens after `prompt` (at least one token).

    A model whose parts all provide `streaming` carries its state and reads each token once; another
    one reads its last `window` tokens again for each. Temperature 0 takes the likeliest token.
    """
    was_training = model.training
    model.eval()
    device = model.embedding.weight.device
    generator = torch.Generator().manual_seed(seed)
    source = _streamed(model, prompt, device) if streams(model) else _reread(model, prompt, window, device)
    try:
        logits = next(source)
        for _ in range(tokens):
            token = _sample(logits, temperature, generator)
            yield token
            logits = source.send(token)
    finally:
        model.train(was_training)


def streams(model: LanguageModel) -> bool:
    """Whether the model carries its state from token to token, at any length."""
    return {"streaming", "any-length"} <= model.provides


_Source = Generator[Tensor, int, None]
"""Gives the next logits (V,), and is sent the token chosen from them."""


def _streamed(model: LanguageModel, prompt: Sequence[int], device: torch.device) -> _Source:
    state = model.initial_state(1)
    pending = list(prompt)
    while True:
        for token in pending:
            logits, state = model.step(torch.tensor([token], device=device), state)
        pending = [(yield logits[0])]


def _reread(model: LanguageModel, prompt: Sequence[int], window: int, device: torch.device) -> _Source:
    history = list(prompt)
    while True:
        logits = model(torch.tensor([history[-window:]], device=device)).logits[0, -1]
        history.append((yield logits))


def _sample(logits: Tensor, temperature: float, generator: torch.Generator) -> int:
    scores = logits.double().cpu()
    if not bool(torch.isfinite(scores).all()):
        raise NumericError("the model's scores for the next token are not finite")
    if temperature == 0:
        return int(scores.argmax())
    probabilities = torch.softmax((scores - scores.max()) / temperature, dim=-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))
