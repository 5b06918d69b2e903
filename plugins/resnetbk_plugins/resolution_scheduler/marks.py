"""Resolution scheduler `marks`: coarse rows where a learned score marks them, and upsampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import gt, le, lt

from resnetbk_plugins.resolution_scheduler.hourglass import check_depth, stacks, three_stacks

if TYPE_CHECKING:
    from resnetbk.kinds import ResolutionScheduler
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Marks:
    """The middle layers work on the rows that a linear score marks, as the dynamic chunks of H-Net (Hwang et
    al. 2025, arXiv:2507.07955): of any tokens, and learned with the rest. A row that scores above a threshold
    is marked, and so is the first; the threshold follows the scores in training, so that a share is.

    layers  number of layers in each of the three stacks; their sum is model.depth, and only the middle stack
            must not be empty. With [0, n, 0] nothing but the score and the head works on every token
    rate    share of the tokens that begin a coarse row; in training all do at first, then fewer, linearly
    until   share of the run after which no more than `rate` do
    """

    layers: tuple[int, int, int] = attrs.field(validator=three_stacks)
    rate: float = attrs.field(default=0.25, validator=[gt(0.0), lt(1.0)])
    until: float = attrs.field(default=0.5, validator=[gt(0.0), le(1.0)])

    def check(self, spec: Spec) -> None:
        check_depth(self.layers, spec.model.depth)

    def build(self, *, width: int, depth: int) -> ResolutionScheduler:
        check_depth(self.layers, depth)
        from resnetbk_plugins.resolution_scheduler.marks_module import MarkedResolution

        return MarkedResolution(width, stacks(self.layers), self.rate, self.until)
