"""Resolution scheduler `boundary`: one coarse row where a word of the text ends, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk_plugins.resolution_scheduler.hourglass import fill, stacks

if TYPE_CHECKING:
    from resnetbk.kinds import ResolutionScheduler
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Boundary:
    """The middle layers work on one row a word, after SpaceByte (Slagle 2024, arXiv:2404.14408).

    A byte is *spacelike* when it is no letter, digit or UTF-8 continuation byte. A coarse row begins at a
    spacelike byte that follows one that is not, and at the first byte. Tokens must be bytes.

    layers   how many layers each of the three stacks has; together they are model.depth. Only the middle
             one must have any
    longest  a coarse row also begins when the last one began so many bytes before
    """

    layers: tuple[int, int, int] = attrs.field()
    longest: int = attrs.field(default=16, validator=ge(1))

    @layers.validator
    def _middle(self, attribute: attrs.Attribute[tuple[int, int, int]], value: tuple[int, int, int]) -> None:
        if min(value) < 0 or value[1] == 0:
            raise ValueError(
                f"must be at least 0 in each stack and at least 1 in the middle one, not {list(value)}"
            )

    def check(self, spec: Spec) -> None:
        fill(self.layers, spec.model.depth)
        tokenizer = spec.data.tokenizer.entry
        if "byte-level" not in tokenizer.provides:
            raise ValueError(
                f"looks for bytes of the text: it needs data.tokenizer = 'bytes' or another that provides "
                f"'byte-level', which {tokenizer.name!r} does not"
            )

    def build(self, *, width: int, depth: int) -> ResolutionScheduler:
        fill(self.layers, depth)
        from resnetbk_plugins.resolution_scheduler.boundary_module import BoundaryResolution

        return BoundaryResolution(width, stacks(self.layers), self.longest)
