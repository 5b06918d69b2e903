"""A small model of every kind of parameter, and batches for it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import Batch, BatchLoss, Weight


class Toy(nn.Module):
    """`calls`: the number of windows of each forward pass, and whether it built a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6, dtype=torch.float64)
        self.hashed = nn.Embedding(11, 6, sparse=True, dtype=torch.float64)
        self.head = nn.Linear(6, 11, dtype=torch.float64)
        self.idle = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.calls: list[tuple[int, bool]] = []

    def objective(self, batch: Batch) -> BatchLoss:
        x = self.table(batch.inputs) + self.hashed(batch.inputs)
        losses = F.cross_entropy(self.head(x).flatten(0, 1), batch.targets.flatten(), reduction="none")
        windows = losses.view(batch.targets.shape).mean(1)
        penalty = 0.1 * x.square().mean()
        self.calls.append((len(batch.inputs), losses.requires_grad))
        return BatchLoss(
            windows.mean() + penalty, windows.detach().mean(), windows.detach(), {"size": penalty.detach()}
        )

    def weights(self) -> list[Weight]:
        return [Weight(name, parameter, "matrix") for name, parameter in self.named_parameters()]

    def gradients(self) -> dict[str, Tensor]:
        gradients = {n: p.grad for n, p in self.named_parameters() if p.grad is not None}
        # sparse gradients are coalesced first, which fixes the order of sums
        return {n: (g.coalesce().to_dense() if g.is_sparse else g.clone()) for n, g in gradients.items()}

    def plain(self, batch: Batch) -> dict[str, Tensor]:
        """The gradients of back-propagation through the batch."""
        self.zero_grad()
        self.objective(batch).loss.backward()
        self.calls.clear()
        return self.gradients()


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    return Toy()


@pytest.fixture
def batch():
    """batch(size, seed): windows of seven tokens."""

    def make(size: int, seed: int = 0) -> Batch:
        tokens = torch.randint(11, (size, 8), generator=torch.Generator().manual_seed(100 * seed + size))
        return Batch(tokens[:, :-1], tokens[:, 1:])

    return make
