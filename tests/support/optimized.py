"""A small model for optimizers to train: a parameter of every kind, and steps of training it."""

from __future__ import annotations

import torch
from torch import nn

from resnetbk.kinds import Optimizer, Weight, with_role
from resnetbk.model.weights import weights

STEPS = 20


class Net(nn.Module):
    """A parameter of every kind: two matrices alike, a tall and a flat one, vectors, tables."""

    def __init__(self, sparse: bool = True) -> None:
        super().__init__()
        self.table = nn.Embedding(13, 8)
        self.hashed = nn.Embedding(50, 8, sparse=sparse)
        self.query = nn.Linear(8, 8, bias=False)
        self.key = nn.Linear(8, 8)
        self.expand = nn.Linear(8, 24)
        self.output = nn.Linear(24, 8, bias=False)
        self.head = nn.Linear(8, 13, bias=False)
        with_role(self.head.weight, "table")
        self.idle = nn.Linear(8, 8, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens) + self.hashed(3 * tokens)
        x = x + self.key(self.query(x).tanh())
        return self.head(x + self.output(self.expand(x).relu()))

    def weights(self) -> list[Weight]:
        return weights(self)


def net(sparse: bool = True) -> Net:
    torch.manual_seed(0)
    return Net(sparse)


def train(model: Net, optimizer: Optimizer, steps: range) -> list[float]:
    rates = []
    for step in steps:
        tokens = torch.randint(13, (4, 9), generator=torch.Generator().manual_seed(step))
        nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        rates.append(optimizer.update(step, step / STEPS))
        assert all(parameter.grad is None for parameter in model.parameters())
    return rates
