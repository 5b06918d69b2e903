"""Resolution scheduler `boundary`: coarse rows at word boundaries of the text, and upsampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk_plugins.resolution_scheduler.hourglass import check_depth, stacks, three_stacks

if TYPE_CHECKING:
    from resnetbk.kinds import ResolutionScheduler
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Boundary:
    """The middle layers work on one row per word, after SpaceByte (Slagle 2024, arXiv:2404.14408).

    A byte is *spacelike* if it is not a letter, digit or UTF-8 continuation byte. A coarse row begins at a
    spacelike byte after a byte that is not, and at the first byte. Tokens must be bytes.

    layers   number of layers in each of the three stacks; their sum is model.depth, and only the middle stack
             must not be empty
    longest  largest number of bytes per coarse row: then the next one begins
    """

    layers: tuple[int, int, int] = attrs.field(validator=three_stacks)
    longest: int = attrs.field(default=16, validator=ge(1))

    def check(self, spec: Spec) -> None:
        check_depth(self.layers, spec.model.depth)
        tokenizer = spec.data.tokenizer.entry
        if "byte-level" not in tokenizer.provides:
            raise ValueError(
                f"reads bytes of the text: it needs data.tokenizer = 'bytes' or another that provides "
                f"'byte-level', which {tokenizer.name!r} does not"
            )

    def build(self, *, width: int, depth: int) -> ResolutionScheduler:
        check_depth(self.layers, depth)
        from resnetbk_plugins.resolution_scheduler.boundary_module import BoundaryResolution

        return BoundaryResolution(width, stacks(self.layers), self.longest)
