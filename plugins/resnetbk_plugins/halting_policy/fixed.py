"""Halting policy `fixed`: the same layers for every row, the control for learned depths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk.kinds import Finished, Rows, Stack

if TYPE_CHECKING:
    from torch import Tensor

    from resnetbk.spec.spec import Spec


@attrs.frozen(kw_only=True)
class Fixed:
    """The first `layers` layers of the model run for every row, in training too; the others never do.

    layers  number of layers, over all stacks in order
    """

    layers: int = attrs.field(validator=ge(1))

    def check(self, spec: Spec) -> None:
        if self.layers > spec.model.depth:
            raise ValueError(f"layers must be at most model.depth = {spec.model.depth}, not {self.layers}")

    def build(self, *, width: int, stacks: Sequence[Stack]) -> FixedHalting:
        return FixedHalting(stacks, self.layers)


class FixedHalting:
    """Without parameters; independent of the rows."""

    def __init__(self, stacks: Sequence[Stack], layers: int) -> None:
        self.stacks = stacks
        self.layers = layers

    def begin(self, stack: int, rows: Rows) -> FixedPass:
        before = sum(len(earlier.layers) for earlier in self.stacks[:stack])
        return FixedPass(rows.x, self.layers - before)


class FixedPass:
    """One pass over one stack, in which `left` more layers run."""

    running: Tensor | None = None

    def __init__(self, x: Tensor, left: int) -> None:
        self._left = left
        self._set_rows(x)

    def observe(self, layer: int, x: Tensor) -> None:
        self._left -= 1
        self._set_rows(x)

    def finish(self) -> Finished:
        """The rows (B, M, D) after the last layer that ran, and no penalties."""
        return Finished(self._x)

    def _set_rows(self, x: Tensor) -> None:
        import torch

        self._x = x
        if self._left <= 0:
            self.running = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
