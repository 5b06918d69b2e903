"""The torch module of `ngram-hash`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import State
from resnetbk_plugins.embedding.table_module import token_table

BEFORE = -1
"""The token at all positions before the first."""

# Odd 64-bit constants as signed integers: the golden ratio's, and two of the finaliser of splitmix64.
ROLL = 0x9E3779B97F4A7C15 - 2**64
MIX = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def ngram_rows(tokens: Tensor, order: int, rows: int) -> Tensor:
    """Which row each n-gram hashes to.

    tokens (B, order - 1 + N) int64, the first order - 1 being context -> (B, N, order - 1) int64,
    entry [..., n - 2] in [0, rows) for the n-gram that ends at the token. A polynomial in ROLL modulo
    2^64, newest token first, so longer n-grams build on shorter ones; then splitmix64's finaliser
    (Steele et al., 2014), and the top 32 bits scaled to [0, rows).
    """
    present = tokens.shape[1] - order + 1
    digit = tokens + 2  # BEFORE becomes 1: no digit is zero
    rolled = digit[:, order - 1 :]
    hashes = []
    for back in range(1, order):
        rolled = rolled * ROLL + digit[:, order - 1 - back :][:, :present]
        mixed = rolled
        for shift, factor in zip((30, 27), MIX, strict=True):
            mixed = (mixed ^ (mixed >> shift)) * factor
        hashes.append(((mixed >> 32) & 0xFFFFFFFF) * rows >> 32)
    return torch.stack(hashes, dim=-1)


class NgramHashEmbedding(nn.Module):
    """tokens -> their rows plus the hashed rows of the n-grams (n = 2 to order) that end at them.

    All hashed tables are one parameter, `hashed.weight` ((order - 1) * rows, D), ordered by n-gram length.
    Its gradient is sparse and not coalesced.
    """

    def __init__(
        self, vocabulary: int, width: int, order: int, rows: int, std: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.order = order
        self.rows = rows
        self.table = token_table(vocabulary, width, std)
        self.hashed = nn.EmbeddingBag((order - 1) * rows, width, mode="sum", sparse=True)
        nn.init.zeros_(self.hashed.weight)
        self.dropout = nn.Dropout(dropout)

    @property
    def weight(self) -> Tensor:
        return self.table.weight

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """(B, N) -> (B, N, D)."""
        return self._embed(F.pad(tokens, (self.order - 1, 0), value=BEFORE))

    def initial_state(self, batch: int) -> State:
        """`tokens` (B, order - 1): the last tokens, oldest first."""
        shape = (batch, self.order - 1)
        return {"tokens": torch.full(shape, BEFORE, dtype=torch.int64, device=self.weight.device)}

    def step(self, tokens: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B,) -> (B, D)."""
        context = torch.cat((state["tokens"], tokens[:, None]), dim=1)
        return self._embed(context)[:, 0], {"tokens": context[:, 1:]}

    def _embed(self, context: Tensor) -> Tensor:
        """(B, order - 1 + N) -> (B, N, D)."""
        first = torch.arange(self.order - 1, device=context.device) * self.rows
        index = ngram_rows(context, self.order, self.rows) + first
        # One bag per token: its rows are summed without being stored apart.
        hashed = self.hashed(index.flatten(0, 1)).unflatten(0, index.shape[:2])
        rows: Tensor = self.dropout(self.table(context[:, self.order - 1 :]) + hashed)
        return rows
