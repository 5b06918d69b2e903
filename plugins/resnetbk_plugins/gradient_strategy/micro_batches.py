"""A batch in pieces: as many as memory asks for, and what the pieces come to together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs
import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk.kinds import Batch, BatchLoss
from resnetbk.training.device import exhausted

Work = TypeVar("Work")


@attrs.define
class Pieces:
    """How many pieces a batch is worked on in: twice as many whenever memory runs out, and never fewer again.

    An operating system that promises more memory than it has (Linux does, to processes on the CPU) may end
    the process instead of telling it; there `accumulate` has to be chosen by hand.
    """

    count: int
    split: bool = False
    """Whether memory ran out in this process."""

    def run(self, device: torch.device, size: int, work: Callable[[int], Work]) -> Work:
        """work(pieces), on a batch of `size` windows.

        It is begun anew after a failure, from the same state of torch's generators, so that what succeeds is
        what would have been without the failure; only buffers that a model changes in its forward pass have
        seen more. Raises UserError when one window does not fit.
        """
        pieces = min(self.count, size)
        before = _generators(device)
        while True:
            try:
                return work(pieces)
            except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
                if not exhausted(error):
                    raise
            # here, where the error is gone, and with it the frames that held on to the graph
            if pieces >= size:
                raise UserError(
                    "train.gradient: memory does not suffice for one window; "
                    "make data.window or the model smaller"
                )
            pieces = min(2 * pieces, size)
            if not self.split:
                logging.getLogger("resnetbk").warning(
                    "memory ran out; batches are split until they fit, and keep to that"
                )
            self.count, self.split = pieces, True
            _restore(device, before)


def differentiated(
    parameters: Sequence[nn.Parameter], batch: Batch, objective: Callable[[Batch], BatchLoss], pieces: int
) -> BatchLoss:
    """The objective over all B windows, detached; its gradient in `.grad`, and none left from before.

    Parameters that the loss does not touch are left with None. B windows that `pieces` does not divide are
    cut as evenly as can be.
    """
    for parameter in parameters:
        parameter.grad = None
    parts: list[tuple[float, BatchLoss]] = []
    for piece, share in _cut(batch, pieces):
        part = objective(piece)
        (part.loss * share).backward()
        parts.append((share, _detached(part)))
    return _joined(parts)


@torch.no_grad()
def looked_at(batch: Batch, objective: Callable[[Batch], BatchLoss], pieces: int) -> BatchLoss:
    """The objective over all B windows, by forward passes alone."""
    return _joined([(share, objective(piece)) for piece, share in _cut(batch, pieces)])


def _cut(batch: Batch, pieces: int) -> list[tuple[Batch, float]]:
    """The pieces with their shares of the windows."""
    cuts = zip(batch.inputs.tensor_split(pieces), batch.targets.tensor_split(pieces), strict=True)
    return [(Batch(inputs, targets), len(inputs) / len(batch.inputs)) for inputs, targets in cuts]


def _detached(part: BatchLoss) -> BatchLoss:
    """Without its graph, so that the graph of one micro-batch is gone when the next one grows."""
    return BatchLoss(
        loss=part.loss.detach(),
        cross_entropy=part.cross_entropy.detach(),
        window_losses=part.window_losses.detach(),
        penalties={name: value.detach() for name, value in part.penalties.items()},
    )


def _joined(parts: Sequence[tuple[float, BatchLoss]]) -> BatchLoss:
    def mean(shares: Sequence[tuple[float, Tensor]]) -> Tensor:
        return torch.stack([share * value for share, value in shares]).sum()

    # A layer that computed no row of a micro-batch names no penalty there: it counts as zero.
    names = dict.fromkeys(name for _, part in parts for name in part.penalties)
    return BatchLoss(
        loss=mean([(share, part.loss) for share, part in parts]),
        cross_entropy=mean([(share, part.cross_entropy) for share, part in parts]),
        window_losses=torch.cat([part.window_losses for _, part in parts]),
        penalties={
            name: mean([(share, part.penalties[name]) for share, part in parts if name in part.penalties])
            for name in names
        },
    )


def _generators(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _restore(device: torch.device, states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
        torch.cuda.empty_cache()
