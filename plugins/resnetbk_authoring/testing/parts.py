"""Parts of specs in which something else is tested, for the keys that have no default."""

from __future__ import annotations

import hashlib

import attrs
import torch
from torch import Tensor, nn

from resnetbk.kinds import Text
from resnetbk.registry.entry import Entry
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


@attrs.frozen(kw_only=True)
class Words:
    """A few words."""

    def build(self) -> Text:
        train, valid = b"some words to learn from", b"and some that are held out"
        return Text(train, valid, hashlib.sha256(train + valid).hexdigest())


def _part(kind: str, component: Mean | Words, *provides: str) -> Part:
    cls = type(component)
    entry = Entry(
        kind=kind,
        name=cls.__name__.lower(),
        plugin="resnetbk",
        version="",
        use=f"{cls.__module__}:{cls.__name__}",
        summary=cls.__doc__ or "",
        provides=frozenset(provides),
        requires=frozenset(),
        conflicts=frozenset(),
    )
    return Part(entry, component)


STAND_INS: dict[str, Part] = {
    "sequence-mixer": _part(
        "sequence-mixer", Mean(), "causal", "streaming", "any-length", "deterministic", "ragged"
    ),
    "corpus": _part("corpus", Words(), "deterministic"),
}
