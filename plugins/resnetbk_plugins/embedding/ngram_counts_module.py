"""The torch module of `ngram-counts`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import State
from resnetbk_plugins.embedding.ngram_index import NgramIndex
from resnetbk_plugins.embedding.table_module import token_table

GROWTH = 1.25
"""All that was read is indexed again for training when it is so many times what was indexed."""


class NgramCountsEmbedding(nn.Module):
    """tokens -> their rows plus a linear map of the log-probabilities of the next token.

    `read` (capacity,) holds the windows that training has read, each followed by the separator `vocabulary`;
    `used` is how much of it is filled, `indexed` how much of that is known in training. Else all of it is.
    A step of training gives it its windows by `learn_tokens`, after all passes.
    """

    read: Tensor
    used: Tensor
    indexed: Tensor

    def __init__(self, vocabulary: int, width: int, order: int, capacity: int, std: float) -> None:
        super().__init__()
        self.vocabulary, self.order = vocabulary, order
        self.before = order - 2  # tokens before a token that are context for what follows it
        self.table = token_table(vocabulary, width, std)
        self.expected = nn.Linear(vocabulary + order, width, bias=False)
        nn.init.normal_(self.expected.weight, std=vocabulary**-0.5)
        self.register_buffer("read", torch.zeros(capacity, dtype=torch.int32))
        self.register_buffer("used", torch.zeros((), dtype=torch.int64))
        self.register_buffer("indexed", torch.zeros((), dtype=torch.int64))
        self._indices: dict[bool, tuple[int, NgramIndex]] = {}
        self.register_load_state_dict_post_hook(lambda module, _: module._indices.clear())

    @property
    def weight(self) -> Tensor:
        return self.table.weight

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """(B, N) -> (B, N, D)."""
        return self._embed(F.pad(tokens, (self.before, 0), value=self.vocabulary))

    def initial_state(self, batch: int) -> State:
        """`tokens` (B, order - 2): the last tokens, oldest first."""
        shape = (batch, self.before)
        return {"tokens": torch.full(shape, self.vocabulary, dtype=torch.int64, device=self.weight.device)}

    def step(self, tokens: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B,) -> (B, D)."""
        context = torch.cat((state["tokens"], tokens[:, None]), dim=1)
        return self._embed(context)[:, 0], {"tokens": context[:, 1:]}

    def _embed(self, context: Tensor) -> Tensor:
        """(B, order - 2 + N) -> (B, N, D)."""
        with torch.no_grad():
            p, lower = self._index().predict(context, self.before)
            expected = torch.cat(((p * self.vocabulary).log() / 4, lower), dim=-1)
        rows: Tensor = self.table(context[:, self.before :]) + self.expected(expected.to(self.weight))
        return rows

    def _index(self) -> NgramIndex:
        count = int(self.indexed if self.training else self.used)
        known = self._indices.get(self.training)
        if known is None or known[0] != count:
            known = count, NgramIndex(self.read[:count], self.vocabulary, self.order)
            self._indices[self.training] = known
        return known[1]

    def learn_tokens(self, tokens: Tensor) -> None:
        """Adds windows (B, N) to what is read, as far as there is room."""
        windows = F.pad(tokens, (0, 1), value=self.vocabulary).flatten()
        first = int(self.used)
        last = min(first + len(windows), len(self.read))
        self.read[first:last] = windows[: last - first]
        self.used.fill_(last)
        if last > GROWTH * int(self.indexed):
            self.indexed.fill_(last)
