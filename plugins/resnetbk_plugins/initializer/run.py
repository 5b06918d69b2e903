"""Initializer `run`: the weights of a trained run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import attrs
from attrs.validators import deep_iterable, in_, min_len

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import Initializer, ParentCosts
from resnetbk_plugins.weight_names import parts_of

if TYPE_CHECKING:
    from torch import nn

    from resnetbk.kinds import Tokenizer

Part: TypeAlias = Literal["embedding", "trunk", "head"]
PARTS = get_args(Part)


def _rates(component: object, attribute: attrs.Attribute[dict[str, float]], value: dict[str, float]) -> None:
    for name, rate in value.items():
        if rate <= 0:
            raise ValueError(f"{attribute.name} must be above 0, not {rate} for {name!r}; see freeze")


def not_empty(component: object, attribute: attrs.Attribute[str], value: str) -> None:
    """An attrs validator."""
    if not value:
        raise ValueError(f"{attribute.name} must be the folder of a run, such as runs/quickstart")


@attrs.frozen(kw_only=True)
class Run:
    """Transfer: weights are matched by name and shape, vocabularies by the bytes that a token stands for.
    Weights without a match start as their component built them; the log says what was loaded and what was
    not, and why.

    The parent run is read completely and checked before anything is copied; a resumed run reads it again, so
    do not delete it. Its training cost, with that of its own parent runs, is recorded beside this run's own
    cost, and a comparison charges it.

    path    the folder of the run, relative to the working directory; `~` is your home
    parts   which of "embedding", "trunk" (with the norm at its end) and "head" are loaded
    freeze  names of parts of the model that are not trained: "embedding", "trunk.layers.0", or of a weight
    rates   factors on the learning rate of parts: {"trunk.layers.0" = 0.1}; the longest matching name counts
            (Howard & Ruder, 2018, arXiv:1801.06146, take 1/2.6 per layer towards the input)
    """

    path: str = attrs.field(validator=not_empty)
    parts: list[Part] = attrs.field(
        factory=lambda: list(PARTS), validator=deep_iterable(in_(PARTS), min_len(1))
    )
    freeze: list[str] = attrs.field(factory=list)
    rates: dict[str, float] = attrs.field(factory=dict, validator=_rates)

    def build(self) -> Initializer:
        return RunInitializer(self)


class RunInitializer:
    """`parents`: the training cost of the parent run, by folder, after `initialize`."""

    def __init__(self, options: Run) -> None:
        self.options = options
        self.parents: ParentCosts = {}

    def initialize(self, model: nn.Module, tokenizer: Tokenizer, depth: int) -> list[str]:
        """Raises StorageError for a parent run that is missing, damaged, or does not fit at all; UserError
        for names in `freeze` and `rates` that the model does not have. Then no weight is changed."""
        from resnetbk_plugins.initializer.parent import read_parent
        from resnetbk_plugins.initializer.transfer import transfer

        options = self.options
        self._check_names(model)
        parent = read_parent(options.path)
        self.parents = parent.parents
        lines = [parent.line(), *transfer(model, tokenizer, parent, parent.weights, options.parts)]
        for name, parameter in model.named_parameters():
            parts = parts_of(name)
            if set(parts) & set(options.freeze):
                parameter.requires_grad_(False)
            rates = [options.rates[part] for part in parts if part in options.rates]
            if rates:
                parameter.rate = rates[-1]  # type: ignore[attr-defined]
        if options.freeze:
            frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
            lines.append(f"{frozen} weights are frozen: {', '.join(options.freeze)}")
        if options.rates:
            lines.append(f"rates: {', '.join(f'{n} x {r:g}' for n, r in options.rates.items())}")
        return lines

    def _check_names(self, model: nn.Module) -> None:
        names = [name for name, _ in model.named_parameters()]
        known = {part for name in names for part in parts_of(name)}
        mistakes = [
            f"train.start: {key}: the model has no {part!r}{nearest(part, known)}"
            for key in ("freeze", "rates")
            for part in getattr(self.options, key)
            if part not in known
        ]
        if mistakes:
            raise UserError(*mistakes)
        if all(set(parts_of(name)) & set(self.options.freeze) for name in names):
            raise UserError(
                "train.start: freeze names all weights: there would be nothing to train; leave some out"
            )
