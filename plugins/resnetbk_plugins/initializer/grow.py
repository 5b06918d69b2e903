"""Initializer `grow`: a deeper or wider model from a smaller one that was trained before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from resnetbk.errors import UserError
from resnetbk.kinds import Initializer, ParentCosts
from resnetbk_plugins.initializer.run import PARTS, not_empty

if TYPE_CHECKING:
    from torch import nn

    from resnetbk.kinds import Tokenizer


@attrs.frozen(kw_only=True)
class Grow:
    """Deepens by copies of layers, and widens by copies of features; either, or both at once.

    Deeper, from L layers to L': layer i starts as the parent's layer
        "stack"     i mod L, the whole stack again (Gong et al., 2019)
        "repeat"    floor(i L / L'), each layer again
        "identity"  as "repeat", but of equal neighbours only the first as it is: in the others all weights
                    called `output` are zero, so that they add nothing until they have learnt to (Wu et al.,
                    2024, arXiv:2401.02415). Keeps the parent's function.

    Wider, from D features to D' (Net2Net, Chen et al., 2015, arXiv:1511.05641): feature j is a copy of
    feature j mod D, and what a linear layer makes of a feature is shared out at random among its copies, each
    output for itself, so that copies learn different things. Keeps the parent's function when D divides D'
    and no component cuts a row in other pieces than the parent did: keep `chains` and the width of a head as
    they were. Otherwise it is an approximate start. Sizes that do not follow the width are copied alike.

    Whether the function was kept is measured on one short text, and logged. Cost, vocabulary and the parent
    itself are treated as by `run`.

    path   the folder of the smaller run, relative to the working directory; `~` is your home
    order  which layers the new ones are copies of
    """

    path: str = attrs.field(validator=not_empty)
    order: Literal["stack", "repeat", "identity"] = "identity"

    def build(self) -> Initializer:
        return GrowInitializer(self)


class GrowInitializer:
    """`parents`: what it cost to train the parent run, by folder, once it has initialized."""

    def __init__(self, options: Grow) -> None:
        self.options = options
        self.parents: ParentCosts = {}

    def initialize(self, model: nn.Module, tokenizer: Tokenizer, depth: int) -> list[str]:
        """Draws shares from torch's global generator.

        Raises StorageError for a parent run that is none, or damaged; UserError for one that is not smaller.
        """
        from resnetbk_plugins.initializer.grow_module import deepened, difference, widened
        from resnetbk_plugins.initializer.parent import read_parent
        from resnetbk_plugins.initializer.transfer import shared_tokens, transfer

        found = read_parent(self.options.path)
        before, width = found.spec.model, _width(model)
        for name, small, large in (("depth", before.depth, depth), ("width", before.width, width)):
            if small > large:
                raise UserError(
                    f"train.start: grow: {self.options.path} has {name} {small}, more than {large}"
                )
        if (before.depth, before.width) == (depth, width):
            raise UserError(f"train.start: grow: {self.options.path} is as large as this model; use 'run'")
        weights = deepened(found.weights, before.depth, depth, self.options.order)
        weights = widened(weights, model, before.width, width)
        lines = [
            found.line(),
            f"grown from depth {before.depth} to {depth} and width {before.width} to {width}",
            *transfer(model, tokenizer, found, weights, PARTS),
        ]
        self.parents = found.parents
        if shared_tokens(tokenizer, found.tokenizer).same:
            lines.append(difference(model, found))
        return lines


def _width(model: nn.Module) -> int:
    embedding: Any = model.embedding
    width: int = embedding.weight.shape[1]
    return width
