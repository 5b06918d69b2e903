"""Text from a model, one token at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
import torch
from torch import Tensor

from resnetbk.errors import NumericError, UserError
from resnetbk.model.language_model import LanguageModel


@attrs.frozen(kw_only=True)
class Sampling:
    """How a next token is chosen.

    temperature  at 0 the likeliest token; at 1 as likely as the model says
    top_k        only among so many of the likeliest
    top_p        only among the likeliest that together have at least this probability (nucleus sampling:
                 Holtzman et al. 2020, arXiv:1904.09751), at the temperature
    seed         same seed, same text

    Raises UserError for what cannot be.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"the temperature must be a number from 0 up, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k must be 1 or more, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, not {self.top_p}")

    def choose(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """(B, V) scores -> (B,) int64 on the CPU. Raises NumericError for scores that are not finite."""
        scores = logits.double().cpu()
        if not bool(torch.isfinite(scores).all()):
            raise NumericError("the model's scores for the next token are not finite")
        if self.temperature == 0:
            return scores.argmax(-1)
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        shares = torch.softmax((scores - scores.amax(-1, keepdim=True)) / self.temperature, dim=-1)
        if self.top_p is not None:
            ordered, order = shares.sort(dim=-1, descending=True, stable=True)
            beyond = ordered.cumsum(-1) - ordered >= self.top_p  # those before it have enough already
            shares = shares.masked_fill(beyond.gather(-1, order.argsort(-1)), 0.0)
        return torch.multinomial(shares, 1, generator=generator)[:, 0]


@torch.inference_mode()
def generate(
    model: LanguageModel, prompt: Sequence[int], tokens: int, sampling: Sampling, *,
    window: int, samples: int = 1,
) -> Iterator[list[int]]:  # fmt: skip
    """Yields `tokens` times a new token of each of `samples` texts after `prompt` (at least one token).

    A model whose parts all provide `streaming` carries its state and reads each token once; another
    one reads its last `window` tokens again for each.
    """
    was_training = model.training
    model.eval()
    device = model.embedding.weight.device
    generator = torch.Generator().manual_seed(sampling.seed)
    known = torch.tensor([prompt], device=device).expand(samples, -1)
    unread = known
    carries = streams(model)
    state = model.initial_state(samples) if carries else {}
    try:
        for _ in range(tokens):
            if carries:
                for token in unread.unbind(1):
                    logits, state = model.step(token, state)
            else:
                logits = model(known[:, -window:]).logits[:, -1]
            chosen = sampling.choose(logits, generator)
            unread = chosen[:, None].to(device)
            if not carries:
                known = torch.cat((known, unread), dim=1)
            yield chosen.tolist()
    finally:
        model.train(was_training)


def streams(model: LanguageModel) -> bool:
    """Whether the model carries its state from token to token, at any length."""
    return {"streaming", "any-length"} <= model.provides


def until(pieces: Iterable[bytes], stops: Sequence[bytes]) -> Iterator[bytes]:
    """The pieces up to where the first of `stops` begins, which is left out. What may be the beginning of
    one is held back until it is known."""
    longest = max(map(len, stops), default=1) - 1
    text = b""
    for piece in pieces:
        text += piece
        if ends := [place for stop in stops if (place := text.find(stop)) >= 0]:
            yield text[: min(ends)]
            return
        if sure := max(0, len(text) - longest):
            yield text[:sure]
            text = text[sure:]
    if text:
        yield text
