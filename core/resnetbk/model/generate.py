"""Sampling text from a model, one token at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from resnetbk.errors import NumericError
from resnetbk.model.language_model import LanguageModel


@torch.inference_mode()
def generate(
    model: LanguageModel, prompt: Sequence[int], tokens: int, *, window: int, temperature: float,
    top_k: int | None = None, seed: int,
) -> Iterator[int]:  # fmt: skip
    """Yields `tokens` new tokens after `prompt` (at least one token).

    A model whose parts all provide `streaming` carries its state and reads each token once; another
    one reads its last `window` tokens again for each. Temperature 0 takes the likeliest token.
    """
    was_training = model.training
    model.eval()
    device = model.embedding.weight.device
    generator = torch.Generator().manual_seed(seed)
    known, unread = list(prompt), list(prompt)
    carries = streams(model)
    state = model.initial_state(1) if carries else {}
    try:
        for _ in range(tokens):
            if carries:
                for token in unread:
                    logits, state = model.step(torch.tensor([token], device=device), state)
            else:
                logits = model(torch.tensor([known[-window:]], device=device)).logits[:, -1]
            token = _sample(logits[0], temperature, top_k, generator)
            known.append(token)
            unread = [token]
            yield token
    finally:
        model.train(was_training)


def streams(model: LanguageModel) -> bool:
    """Whether the model carries its state from token to token, at any length."""
    return {"streaming", "any-length"} <= model.provides


def _sample(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    scores = logits.double().cpu()
    if not bool(torch.isfinite(scores).all()):
        raise NumericError("the model's scores for the next token are not finite")
    if temperature == 0:
        return int(scores.argmax())
    if top_k is not None and top_k < len(scores):
        scores[scores < scores.topk(top_k).values[-1]] = -torch.inf
    probabilities = torch.softmax((scores - scores.max()) / temperature, dim=-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))
