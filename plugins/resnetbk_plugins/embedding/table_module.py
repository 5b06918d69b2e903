"""The torch module of `table`."""

from __future__ import annotations

from torch import Tensor, nn

from resnetbk.kinds import State


def token_table(vocabulary: int, width: int, std: float) -> nn.Embedding:
    """(V, D) drawn from N(0, std^2)."""
    table = nn.Embedding(vocabulary, width)
    nn.init.normal_(table.weight, std=std)
    return table


class TableEmbedding(nn.Module):
    """tokens -> their rows of the table."""

    def __init__(self, vocabulary: int, width: int, std: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = token_table(vocabulary, width, std)
        self.dropout = nn.Dropout(dropout)

    @property
    def weight(self) -> Tensor:
        return self.table.weight

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """(B, N) -> (B, N, D)."""
        rows: Tensor = self.dropout(self.table(tokens))
        return rows

    def initial_state(self, batch: int) -> State:
        """Nothing to carry."""
        return {}

    def step(self, tokens: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B,) -> (B, D)."""
        return self.forward(tokens, position), {}
