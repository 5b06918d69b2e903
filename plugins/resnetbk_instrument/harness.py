"""Runs in lm-evaluation-harness (extra `harness`): a model for it, and its command line with that model.

    python -m resnetbk_instrument.harness run --model resnetbk --model_args run=runs/a --tasks lambada_openai

In Python, importing this module registers `resnetbk` with the harness (Gao et al., lm_eval 0.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

import resnetbk
from resnetbk.errors import UserError
from resnetbk.training.device import find_device
from resnetbk.training.objective import autocast
from resnetbk.training.run import Run
from resnetbk.training.sampling import until

Scored = tuple[list[int], int]
"""Tokens, and how many of the last are scored."""


@register_model("resnetbk")
class HarnessModel(TemplateLM):  # type: ignore[misc]
    """A run. An empty context is a line break.

    run         its folder; or a run, which stays on its device
    device      cpu, cuda, cuda:N or mps; cuda where there is one
    max_length  tokens that a token sees before it, at most; `data.window` of the spec unless given
    batch_size  of texts at once
    """

    def __init__(
        self,
        run: Run | Path | str,
        device: str | None = None,
        max_length: int | None = None,
        batch_size: int | str = 32,
        **other: Any,
    ) -> None:
        super().__init__()
        if isinstance(run, Run):
            self.run = run
        else:
            self.run = resnetbk.open_run(run)
            there = device if torch.cuda.is_available() or device != "cuda:0" else None  # its default
            self.run.model.to(find_device(there))
        self.max_length = int(max_length or self.run.spec.data.window)
        self.batch_size = 32 if batch_size == "auto" else int(batch_size)

    @property
    def eot_token_id(self) -> int:
        try:
            return int(self.run.encode("\n")[0])
        except UserError:  # a vocabulary of characters without it
            return 0

    @property
    def tokenizer_name(self) -> str:
        return self.run.spec.data.tokenizer.name

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **more: Any) -> list[int]:
        tokens: list[int] = self.run.encode(string).tolist()
        return tokens

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        texts = [([self.eot_token_id], self.tok_encode(request.args[0])) for request in requests]
        return [total for total, _ in self._score(texts)]

    def _loglikelihood_tokens(self, requests: Any, **more: Any) -> list[tuple[float, bool]]:
        return self._score([(context, continuation) for _, context, continuation in requests])

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        return [self._generate(*request.args) for request in requests]

    def _generate(self, context: str, how: dict[str, Any]) -> str:
        stops = how.get("until", [])
        stops = [stops] if isinstance(stops, str) else stops
        temperature = float(how.get("temperature", 0.0)) if how.get("do_sample") else 0.0
        known = self.tok_encode(context)[-self.max_length :] or [self.eot_token_id]
        prompt = self.run.tokenizer.decode(known)
        pieces = self.run.generate(prompt, int(how.get("max_gen_toks", 256)), temperature=temperature)
        return b"".join(until(pieces, [stop.encode() for stop in stops if stop])).decode(errors="replace")

    @torch.inference_mode()
    def _score(self, texts: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        """For each context and continuation: the continuation's log-likelihood in nats, and whether greedy
        generation gives it."""
        rows = [(i, row) for i, text in enumerate(texts) for row in self._rows(*text)]
        rows.sort(key=lambda each: -len(each[1][0]))  # so that a batch has little padding
        totals, greedy = np.zeros(len(texts)), np.ones(len(texts), dtype=bool)
        device = self.run.model.embedding.weight.device
        for first in range(0, len(rows), self.batch_size):
            batch = rows[first : first + self.batch_size]
            padded = torch.zeros(len(batch), len(batch[0][1][0]), dtype=torch.long)
            for row, (_, (tokens, _)) in zip(padded, batch, strict=True):
                row[: len(tokens)] = torch.tensor(tokens)
            with autocast(device, self.run.spec.train.precision):
                logits = self.run.model(padded[:, :-1].to(device)).logits
            scores = torch.log_softmax(logits.float(), dim=-1).cpu()
            for row, score, (i, (tokens, scored)) in zip(padded, scores, batch, strict=True):
                asked = slice(len(tokens) - 1 - scored, len(tokens) - 1)
                answers = row[len(tokens) - scored : len(tokens)]
                totals[i] += float(score[asked].gather(1, answers[:, None]).sum())
                greedy[i] &= bool((score[asked].argmax(-1) == answers).all())
        return list(zip(totals.tolist(), greedy.tolist(), strict=True))

    def _rows(self, context: list[int], continuation: list[int]) -> Iterator[Scored]:
        """Pieces of at most `max_length` + 1 tokens that score each token of the continuation once."""
        tokens, start = context + continuation, len(context)
        while start < len(tokens):
            end = min(len(tokens), start + self.max_length)
            yield tokens[max(0, end - 1 - self.max_length) : end], end - start
            start = end


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
