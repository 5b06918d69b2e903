"""Gradient strategy `backprop`: fresh gradients at every step. The identity of its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge

from resnetbk.kinds import Batch, Objective, State

if TYPE_CHECKING:
    from torch import Tensor, nn


@attrs.frozen(kw_only=True)
class Backprop:
    """Back-propagation through the batch, in `accumulate` micro-batches one after the other.

    Micro-batches hold the activations of a part of the batch at a time and give the gradient of the
    whole: each is weighted by its share of the windows. Exact for the cross-entropy and for every
    penalty that is a mean over windows; one that is not linear in the batch (the load balance of
    experts) becomes the mean of its values on the micro-batches.
    """

    accumulate: int = attrs.field(default=1, validator=ge(1))

    def build(self, *, parameters: Sequence[nn.Parameter]) -> BackpropGradients:
        return BackpropGradients(parameters, self.accumulate)


class BackpropGradients:
    """Keeps nothing from step to step."""

    def __init__(self, parameters: Sequence[nn.Parameter], accumulate: int) -> None:
        self.parameters = tuple(parameters)
        self.accumulate = accumulate

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], Objective]) -> Objective:
        """The objective over all B windows, detached; its window_losses are (B,).

        Parameters that the loss does not touch are left with None for a gradient. B windows that
        `accumulate` does not divide are cut as evenly as can be; fewer than that go one by one.
        """
        for parameter in self.parameters:
            parameter.grad = None
        size = len(batch.inputs)
        pieces = min(self.accumulate, size)
        parts: list[tuple[float, Objective]] = []
        for inputs, targets in zip(
            batch.inputs.tensor_split(pieces), batch.targets.tensor_split(pieces), strict=True
        ):
            part, share = objective(Batch(inputs, targets)), len(inputs) / size
            (part.loss * share).backward()
            parts.append((share, _detached(part)))
        return _joined(parts)

    def state(self) -> State:
        return {}

    def restore(self, state: State) -> None:
        """There is nothing to restore."""


def _detached(part: Objective) -> Objective:
    """Without its graph, so that the graph of one micro-batch is gone when the next one grows."""
    return Objective(
        loss=part.loss.detach(),
        cross_entropy=part.cross_entropy.detach(),
        window_losses=part.window_losses.detach(),
        penalties={name: value.detach() for name, value in part.penalties.items()},
    )


def _joined(parts: Sequence[tuple[float, Objective]]) -> Objective:
    import torch

    def mean(shares: Sequence[tuple[float, Tensor]]) -> Tensor:
        return torch.stack([share * value for share, value in shares]).sum()

    # A layer that computed no row of a micro-batch names no penalty there: it counts as zero.
    names = dict.fromkeys(name for _, part in parts for name in part.penalties)
    return Objective(
        loss=mean([(share, part.loss) for share, part in parts]),
        cross_entropy=mean([(share, part.cross_entropy) for share, part in parts]),
        window_losses=torch.cat([part.window_losses for _, part in parts]),
        penalties={
            name: mean([(share, part.penalties[name]) for share, part in parts if name in part.penalties])
            for name in names
        },
    )
