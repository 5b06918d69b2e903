"""What a check is handed: one component, with keys to test it with, and small models and texts around it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.model.assemble import assemble
from resnetbk.model.language_model import LanguageModel
from resnetbk.registry.entry import Entry
from resnetbk.registry.lookup import Registry
from resnetbk.runs import state
from resnetbk.spec.problem import Refused
from resnetbk.spec.reader import Reader
from resnetbk.spec.spec import Data, Model, Part, Spec, Train
from resnetbk_authoring.testing.parts import STAND_INS

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
        if "use" in table:
            raise UserError(f"{name}: 'use' is no key to test it with: it would be another component")
        try:
            return cls(registry, entry, table, Reader(registry).part(entry.kind, {"use": name, **table}))
        except Refused as refused:
            raise UserError(*(f"{name}: {problem}" for problem in refused.problems)) from None

    @property
    def component(self) -> Any:
        return self.part.component

    def build(self, *, training: bool = False) -> Any:
        """The working object of a model's kind, at WIDTH and DEPTH: modules have random float64 weights."""
        torch.manual_seed(0)
        scheduler = self._default("resolution-scheduler").component
        given: dict[str, dict[str, Any]] = {
            "embedding": {"vocabulary": VOCABULARY, "width": WIDTH},
            "halting-policy": {"width": WIDTH, "stacks": scheduler.build(width=WIDTH, depth=DEPTH).stacks},
        }
        layer = {"layer": 0} if "layer" in inspect.signature(self.component.build).parameters else {}
        built = self.component.build(**given.get(self.entry.kind, {"width": WIDTH, "depth": DEPTH} | layer))
        if isinstance(built, nn.Module):
            stir(built.double())
            built.train(training)
        return built

    def spec(self) -> Spec:
        """A whole spec of a small run, with the component in it."""
        data, train = Data(**self._parts("data")), self._parts("train")
        train["observe"] = (train["observe"],)
        return Spec(name="conformance", data=data, model=self._model(), train=Train(steps=1, **train))

    def model(self, seed: int = 0, *, stirred: bool = True) -> LanguageModel:
        """A language model with the component in it, and elsewhere what specs get by default, in float64:
        rounding would hide the differences that checks are about.

        stirred  with random weights everywhere: those that start at zero hide what is behind them
        """
        model = assemble(self._model(), vocabulary=VOCABULARY, seed=seed).double()
        if stirred:
            stir(model, seed)
        return model.eval()

    def within(self, model: LanguageModel) -> list[tuple[str, nn.Module]]:
        """The modules that the component built in a model, by their names there."""
        name = KINDS[self.entry.kind].key.removeprefix("model.")
        if name in ("mixer", "channel"):
            layers = enumerate(model.trunk.layers)
            built = [(f"layers.{number}.{name}", getattr(layer, name)) for number, layer in layers]
        else:
            built = [(name, getattr(model if name == "embedding" else model.trunk, name))]
        return [(place, module) for place, module in built if isinstance(module, nn.Module)]

    def _model(self) -> Model:
        return Model(width=WIDTH, depth=DEPTH, **self._parts("model"))

    def _parts(self, section: str) -> dict[str, Any]:
        """The parts of a section of the spec: the component, and elsewhere what specs get by default."""
        return {
            kind.key.partition(".")[2]: self.part
            if kind.name == self.entry.kind
            else self._default(kind.name)
            for kind in KINDS.values()
            if kind.key.startswith(f"{section}.")
        }

    def _default(self, kind: str) -> Part:
        entries = self.registry.defaults(kind)
        if entries:
            return Reader(self.registry).part(kind, f"{entries[0].plugin}/{entries[0].name}")
        if kind not in STAND_INS:
            raise UserError(f"no {kind} is a default, and {self.entry.name} cannot be tested without one")
        return STAND_INS[kind]


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


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Within it torch's generator begins at `seed`; after it, it is where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def reloaded(tree: Any) -> Any:
    """A state as it comes back from a checkpoint. Raises TypeError for what cannot be saved."""
    skeleton, tensors = state.split(tree)
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    return state.join(json.loads(json.dumps(skeleton)), copies)


def require(holds: object, problem: str) -> None:
    """Raises AssertionError with the problem unless it holds; also where Python leaves `assert` out."""
    if not holds:
        raise AssertionError(problem)


def same(actual: Any, expected: Any, what: str, tolerance: float = 1e-9) -> None:
    """Raises AssertionError, with the largest difference, unless two tensors are equal within `tolerance`; or
    two trees of lists, tuples and mappings of tensors, arrays, numbers and None."""
    torch.testing.assert_close(
        actual,
        expected,
        rtol=0.0,
        atol=tolerance,
        check_dtype=False,
        msg=lambda problem: f"{what}: {problem}",
    )
