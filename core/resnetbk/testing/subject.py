"""What a check is handed: one component, with keys to test it with, and small models and texts around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.model.assemble import assemble
from resnetbk.model.language_model import LanguageModel
from resnetbk.registry.lookup import Registry
from resnetbk.registry.manifest import Entry
from resnetbk.spec.problem import Refused
from resnetbk.spec.spec import Model, Part
from resnetbk.spec.structure import part
from resnetbk.testing.parts import MEAN

WIDTH, DEPTH, VOCABULARY = 16, 4, 256
"""Of the models that components are tested in."""


@attrs.frozen(eq=False)
class Subject:
    """A component under test.

    settings  the keys it is tested with, as a spec would have them
    part      the component with these keys
    """

    registry: Registry
    entry: Entry
    settings: Mapping[str, Any]
    part: Part

    @classmethod
    def of(cls, registry: Registry, entry: Entry, settings: Mapping[str, Any] | None = None) -> Subject:
        """Raises UserError when it cannot be loaded, or does not take the settings."""
        table = dict(settings or {})
        name = f"{entry.plugin}/{entry.name}"
        try:
            return cls(registry, entry, table, part(registry, entry.kind, {"use": name, **table}))
        except Refused as refused:
            raise UserError(*(f"{name}: {problem.message}" for problem in refused.problems)) from None

    @property
    def component(self) -> Any:
        return self.part.component

    def claims(self, word: str) -> bool:
        return word in self.entry.provides

    def build(self, seed: int = 0) -> Any:
        """The working object of a model's kind, at WIDTH and DEPTH."""
        torch.manual_seed(seed)
        given: dict[str, dict[str, Any]] = {
            "embedding": {"vocabulary": VOCABULARY, "width": WIDTH},
            "halting-policy": {"width": WIDTH, "stacks": self._stacks()},
        }
        return self.component.build(**given.get(self.entry.kind, {"width": WIDTH, "depth": DEPTH}))

    def model(self, seed: int = 0, *, stirred: bool = True) -> LanguageModel:
        """A language model with the component in it, and elsewhere what specs get by default, in float64:
        rounding would hide what is looked for.

        stirred  with random weights everywhere: those that start at zero hide what is behind them
        """
        chosen: dict[str, Any] = {key: self._default(kind) for kind, key in _MODEL_KEYS.items()}
        if self.entry.kind in _MODEL_KEYS:
            chosen[_MODEL_KEYS[self.entry.kind]] = self.part
        spec = Model(width=WIDTH, depth=DEPTH, **chosen)
        model = assemble(spec, vocabulary=VOCABULARY, seed=seed).double()
        if stirred:
            stir(model, seed)
        return model.eval()

    def within(self, model: LanguageModel) -> list[tuple[str, nn.Module]]:
        """The modules that the component built in a model, by their names there."""
        trunk, kind = model.trunk, self.entry.kind
        if kind in ("sequence-mixer", "channel-mixer"):
            name = "mixer" if kind == "sequence-mixer" else "channel"
            found = [(f"layers.{i}.{name}", getattr(each, name)) for i, each in enumerate(trunk.layers)]
        elif kind == "embedding":
            found = [("embedding", model.embedding)]
        else:
            name = _MODEL_KEYS[kind]
            found = [(name, getattr(trunk, name))]
        return [(name, module) for name, module in found if isinstance(module, nn.Module)]

    def _default(self, kind: str) -> Part:
        entries = self.registry.defaults(kind)
        if not entries:
            return MEAN
        return part(self.registry, kind, f"{entries[0].plugin}/{entries[0].name}")

    def _stacks(self) -> Any:
        flat = self._default("resolution-scheduler").component.build(width=WIDTH, depth=DEPTH)
        return flat.stacks


_MODEL_KEYS = {
    kind.name: kind.key.removeprefix("model.") for kind in KINDS.values() if kind.key.startswith("model.")
}


def stir(module: nn.Module, seed: int = 0) -> None:
    """Draws every parameter anew, with standard deviation 0.3."""
    source = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=source))


def text(length: int, seed: int = 0, batch: int = 2) -> Tensor:
    """(batch, length) int64: unequal sequences of letters, spaces and other marks."""
    letters = torch.tensor(list(b"ab c. d\n"))
    source = torch.Generator().manual_seed(seed)
    return letters[torch.randint(len(letters), (batch, length), generator=source)]


def seeded(work: Callable[[], Any], seed: int = 0) -> Any:
    """What `work` gives with torch's generator at `seed`, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return work()


def require(holds: object, problem: str) -> None:
    """Raises AssertionError with the problem unless it holds; also where Python leaves `assert` out."""
    if not holds:
        raise AssertionError(problem)


def same(one: Tensor, other: Tensor, what: str, tolerance: float = 1e-9) -> None:
    """Raises AssertionError, with the largest difference, unless both are equal within `tolerance`."""
    require(one.shape == other.shape, f"{what}: shapes {tuple(one.shape)} and {tuple(other.shape)}")
    if one.numel():
        apart = (one - other).abs().max().item()
        require(apart <= tolerance, f"{what}: up to {apart:.3g} apart")
