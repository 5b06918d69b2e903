"""The torch module of `learned-positions`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk.kinds import State
from resnetbk_plugins.embedding.table_module import token_table


class PositionEmbedding(nn.Module):
    """tokens -> their rows plus the rows of their positions.

    UserError when a position has no row, in `forward` and in `step`.
    """

    def __init__(self, vocabulary: int, width: int, length: int, std: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = token_table(vocabulary, width, std)
        self.places = token_table(length, width, std)
        self.dropout = nn.Dropout(dropout)

    @property
    def weight(self) -> Tensor:
        return self.table.weight

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """(B, N) at (B, N) -> (B, N, D)."""
        length = self.places.num_embeddings
        # compiled training would have to wait for the answer, and its windows are no longer: `check`
        known = position.numel() and not torch.compiler.is_compiling()
        if known and (tokens_seen := int(position.max()) + 1) > length:
            raise UserError(
                f"model.embedding: a sequence of {tokens_seen} tokens is longer than length = {length}; "
                "raise model.embedding.length or use an embedding without learned positions"
            )
        rows: Tensor = self.dropout(self.table(tokens) + self.places(position))
        return rows

    def initial_state(self, batch: int) -> State:
        """Nothing to carry."""
        return {}

    def step(self, tokens: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B,) at (B,) -> (B, D)."""
        return self.forward(tokens, position), {}
