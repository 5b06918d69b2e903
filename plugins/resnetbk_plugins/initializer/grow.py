"""Initializer `grow`: a deeper or wider model from a smaller trained run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from resnetbk.errors import UserError
from resnetbk.kinds import Initializer, ParentCosts
from resnetbk.spec.spec import period
from resnetbk_plugins.initializer.run import PARTS, not_empty

if TYPE_CHECKING:
    from torch import nn

    from resnetbk.kinds import Tokenizer


@attrs.frozen(kw_only=True)
class Grow:
    """Deepens by copying layers, and widens by copying features; either, or both at once.

    Deeper, from L layers to L': layer i starts as the parent's layer
        "stack"     i mod L, the whole stack repeated (Gong et al., 2019)
        "repeat"    i L // L', each layer repeated
        "identity"  as "repeat", but in all copies of a layer except the first, weights called `output` are
                    zero, so that at first these copies add nothing (Wu et al., 2024, arXiv:2401.02415).
                    Preserves the parent's function.
    Where layers follow a pattern, its rounds are copied whole, and both depths are multiples of its length.
    Layers that a run shares are copied as if each loop had its own; a model that shares takes the first.

    Wider, from D features to D' (Net2Net, Chen et al., 2015, arXiv:1511.05641): feature j is a copy of
    feature j mod D, and a linear layer's weights for a feature are divided at random among its copies,
    independently for each output, so that the copies learn different things. Preserves the parent's function
    if D divides D' and no component splits a row differently than in the parent: keep `chains` and the width
    of a head unchanged. Otherwise it is approximate. Other sizes grow by copies too.

    Whether the function is preserved is measured on a short random text, and logged. Cost, vocabulary and the
    parent run are treated as by `run`.

    path   the folder of the smaller run, relative to the working directory; `~` is your home
    order  which layers the new layers are copies of
    """

    path: str = attrs.field(validator=not_empty)
    order: Literal["stack", "repeat", "identity"] = "identity"

    def build(self) -> Initializer:
        return GrowInitializer(self)


class GrowInitializer:
    """`parents`: the training cost of the parent run, by folder, after `initialize`."""

    def __init__(self, options: Grow) -> None:
        self.options = options
        self.parents: ParentCosts = {}

    def initialize(self, model: nn.Module, tokenizer: Tokenizer, depth: int) -> list[str]:
        """Draws from torch's global generator.

        Raises StorageError for a parent run that is missing or damaged, UserError if it is not smaller.
        """
        from resnetbk_plugins.initializer.grow_module import deepened, difference, widened
        from resnetbk_plugins.initializer.parent import read_parent
        from resnetbk_plugins.initializer.transfer import shared_tokens, transfer

        parent = read_parent(self.options.path)
        before, width = parent.spec.model, _width(model)
        for name, small, large in (("depth", before.depth, depth), ("width", before.width, width)):
            if small > large:
                raise UserError(
                    f"train.start: grow: {self.options.path} has {name} {small}, more than {large}; "
                    "name a smaller run"
                )
        if (before.depth, before.width) == (depth, width):
            raise UserError(f"train.start: grow: {self.options.path} is as large as this model; use 'run'")
        round_ = period(before) if before.depth < depth else 1
        if before.depth % round_ or depth % round_:
            raise UserError(
                f"train.start: grow: the layers of {self.options.path} follow a pattern of {round_}; both "
                f"depths, {before.depth} and {depth}, must be multiples of that"
            )
        built: Any = model
        weights = deepened(
            parent.weights, before.depth, depth, self.options.order, round_, len(built.trunk.layers)
        )
        weights = widened(weights, model, before.width, width)
        lines = [
            parent.line(),
            f"grown from depth {before.depth} to {depth} and width {before.width} to {width}",
            *transfer(model, tokenizer, parent, weights, PARTS),
        ]
        self.parents = parent.parents
        if shared_tokens(tokenizer, parent.tokenizer).same:
            lines.append(difference(model, parent))
        return lines


def _width(model: nn.Module) -> int:
    embedding: Any = model.embedding
    width: int = embedding.weight.shape[1]
    return width
