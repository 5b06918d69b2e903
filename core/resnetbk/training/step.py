"""A step on its way: its numbers are on the device until they are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import attrs
from torch import Tensor

from resnetbk.hooks import StepReport
from resnetbk.kinds import SelectionContext, Windows


@attrs.define(eq=False, slots=False, kw_only=True)
class Step:
    """What was chosen and what came of it; see `StepReport`.

    numbers     loss, gradient's norm, and penalties, which are called `penalties`
    generators  of torch after its passes
    seconds     see `Meter.moment`
    """

    context: SelectionContext
    windows: Windows
    window_losses: Tensor
    numbers: Tensor
    penalties: Sequence[str]
    rows: tuple[float, ...]
    generators: Mapping[str, Tensor]
    tokens: int
    rate: float = 0.0
    flops: float = 0.0
    seconds: Sequence[float] = ()

    @cached_property
    def values(self) -> list[float]:
        """`numbers`, which are known once its seconds are settled."""
        return list(map(float, self.numbers.tolist()))

    @property
    def wrong(self) -> str:
        """What is not finite, loss or gradient, or ""."""
        for value, what in zip(self.values, ("the loss is", "the gradient's norm is"), strict=False):
            if not math.isfinite(value):
                return f"step {self.context.step + 1}: {what} {value}"
        return ""

    def report(self, steps: int | None, progress: Callable[[int, float], float]) -> StepReport:
        """Of a run of so many steps, whose progress depends on steps and seconds."""
        number, seconds = self.context.step + 1, self.seconds[0]
        loss, norm, *penalties = self.values
        return StepReport(
            step=number, steps=steps, progress=progress(number, seconds), loss=loss,
            penalties=dict(zip(self.penalties, penalties, strict=True)), rate=self.rate, gradient_norm=norm,
            tokens=self.tokens, seconds=seconds, rows=self.rows, flops=self.flops,
        )  # fmt: skip
