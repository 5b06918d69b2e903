"""A sequence mixer for models in which something else is tested: specs have no default for that key."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn

from resnetbk.registry.manifest import Entry
from resnetbk.spec.spec import Part


class RunningMean(nn.Module):
    """Each row receives a projection of the mean of the rows so far."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        mixed: Tensor = self.output(x.cumsum(1) / count[:, None])
        return mixed

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        weight = self.output.weight
        return {"sum": weight.new_zeros(batch, weight.shape[1]), "count": weight.new_zeros(batch)}

    def step(self, x: Tensor, position: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        total, count = state["sum"] + x, state["count"] + 1
        return self.output(total / count[:, None]), {"sum": total, "count": count}


@attrs.frozen(kw_only=True)
class Mean:
    """The mean of the rows so far."""

    def build(self, *, width: int, depth: int) -> nn.Module:
        return RunningMean(width)


MEAN = Part(
    Entry(
        kind="sequence-mixer",
        name="mean",
        plugin="resnetbk",
        version="",
        use="resnetbk.testing.parts:Mean",
        summary="The mean of the rows so far",
        provides=frozenset({"causal", "streaming", "any-length", "deterministic", "ragged"}),
        requires=frozenset(),
        conflicts=frozenset(),
    ),
    Mean(),
)
