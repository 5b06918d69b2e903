"""Resolution scheduler `hourglass`: one coarse row for every k finer rows, and upsampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from resnetbk.kinds import Stack

if TYPE_CHECKING:
    from resnetbk.kinds import ResolutionScheduler
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Hourglass:
    """The middle layers work on coarse rows that each represent `factor` finer rows, and so cost `factor`
    times less (Nawrot et al. 2021, arXiv:2110.13711).

    layers  number of layers in each stack: an odd number of stacks, at levels 0, 1, .., top, .., 1, 0. Their
            sum is model.depth, and only the middle stack must not be empty
    factor  rows of the level below per coarse row: a number, or a list with a number for each level from 1 up
    """

    layers: tuple[int, ...] = attrs.field()
    factor: int | tuple[int, ...] = attrs.field(default=4)

    @layers.validator
    def _up_and_down(self, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
        if len(value) < 3 or len(value) % 2 == 0:
            raise ValueError(f"must name 3, 5, 7, .. stacks, such as [1, 2, 1], not {len(value)}")
        if min(value) < 0 or value[len(value) // 2] == 0:
            raise ValueError(
                f"must be at least 0 in each stack and at least 1 in the middle stack, not {list(value)}"
            )

    @factor.validator
    def _coarser(self, attribute: attrs.Attribute[int], value: int | tuple[int, ...]) -> None:
        factors = (value,) if isinstance(value, int) else value
        if any(factor < 2 for factor in factors):
            raise ValueError(f"must be at least 2, not {min(factors)}")
        levels = len(self.layers) // 2
        if not isinstance(value, int) and len(value) != levels:
            raise ValueError(f"names {len(value)} levels, but layers = {list(self.layers)} has {levels}")

    def check(self, spec: Spec) -> None:
        check_depth(self.layers, spec.model.depth)

    def build(self, *, width: int, depth: int) -> ResolutionScheduler:
        check_depth(self.layers, depth)
        from resnetbk_plugins.resolution_scheduler.hourglass_module import HourglassResolution

        levels = len(self.layers) // 2
        factors = (self.factor,) * levels if isinstance(self.factor, int) else self.factor
        return HourglassResolution(width, stacks(self.layers), factors)


def three_stacks(_: Any, field: attrs.Attribute[Any], value: tuple[int, int, int]) -> None:
    """An attrs validator: layers in each of three stacks, of which the middle one has some."""
    if min(value) < 0 or value[1] == 0:
        raise ValueError(
            f"must be at least 0 in each stack and at least 1 in the middle stack, not {list(value)}"
        )


def check_depth(layers: tuple[int, ...], depth: int) -> None:
    """Raises ValueError unless the stacks have `depth` layers in total."""
    if sum(layers) != depth:
        raise ValueError(f"layers = {list(layers)} are {sum(layers)} layers, but model.depth is {depth}")


def stacks(layers: tuple[int, ...]) -> tuple[Stack, ...]:
    """Stacks of consecutive layers, at levels that rise to the middle stack and fall again."""
    top, first, hourglass = len(layers) // 2, 0, []
    for place, count in enumerate(layers):
        hourglass.append(Stack(top - abs(place - top), tuple(range(first, first + count))))
        first += count
    return tuple(hourglass)
