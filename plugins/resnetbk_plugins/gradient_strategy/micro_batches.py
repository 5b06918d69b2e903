"""A batch in micro-batches: as many as memory requires, and their combined loss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs
import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk.exhausted import exhausted
from resnetbk.kinds import Batch, BatchLoss

Work = TypeVar("Work")


@attrs.define
class MicroBatches:
    """The number of micro-batches, doubled whenever memory runs out and never reduced again.

    An operating system that overcommits memory (Linux does, on the CPU) may kill the process instead of
    raising an error; there `accumulate` has to be chosen by hand.
    """

    count: int
    sharded: bool = False
    """Whether other processes take part in each pass, which then cannot be made again."""
    split: bool = False
    """Whether memory has run out in this process."""

    def run(self, device: torch.device, size: int, work: Callable[[int], Work]) -> Work:
        """work(count), on a batch of `size` windows.

        It is restarted when memory runs out, from the same state of torch's generators, so the result is that
        of a run without the failure; only buffers that a model changes in its forward pass have been updated
        more often. Raises UserError when one window does not fit.
        """
        count = min(self.count, size)
        before = _generators(device)
        while True:
            try:
                return work(count)
            except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
                if not exhausted(error):
                    raise
            # outside of the except block: the error's frames, which hold the graph, are freed
            if self.sharded:
                raise UserError(
                    f"train.gradient: memory does not suffice for a batch in {count} micro-batches; give "
                    f"accumulate = {2 * count}: with sharded weights no process can change that alone"
                )
            if count >= size:
                raise UserError(
                    "train.gradient: memory does not suffice for one window; "
                    "make data.window or the model smaller"
                )
            count = min(2 * count, size)
            if not self.split:
                logging.getLogger("resnetbk").warning(
                    "out of memory: batches are split into more micro-batches, for the rest of the run"
                )
            self.count, self.split = count, True
            _restore(device, before)


def differentiated(
    parameters: Sequence[nn.Parameter], batch: Batch, objective: Callable[[Batch], BatchLoss], count: int
) -> BatchLoss:
    """The objective over all B windows, detached; its gradient replaces `.grad`.

    Parameters that the loss does not depend on have None. `count` micro-batches are as equal in size as
    possible.
    """
    for parameter in parameters:
        parameter.grad = None
    parts: list[tuple[float, BatchLoss]] = []
    for micro_batch, share in _cut(batch, count):
        part = objective(micro_batch)
        (part.loss * share).backward()
        parts.append((share, _detached(part)))
    return _joined(parts)


@torch.no_grad()
def evaluated(batch: Batch, objective: Callable[[Batch], BatchLoss], count: int) -> BatchLoss:
    """The objective over all B windows, without gradients."""
    return _joined([(share, objective(micro_batch)) for micro_batch, share in _cut(batch, count)])


def _cut(batch: Batch, count: int) -> list[tuple[Batch, float]]:
    """Micro-batches with their shares of the windows."""
    cuts = zip(batch.inputs.tensor_split(count), batch.targets.tensor_split(count), strict=True)
    return [(Batch(inputs, targets), len(inputs) / len(batch.inputs)) for inputs, targets in cuts]


def _detached(part: BatchLoss) -> BatchLoss:
    """Without its graph, so that the graph of a micro-batch is freed before the next forward pass."""
    return BatchLoss(
        loss=part.loss.detach(),
        cross_entropy=part.cross_entropy.detach(),
        window_losses=part.window_losses.detach(),
        penalties={name: value.detach() for name, value in part.penalties.items()},
    )


def _joined(parts: Sequence[tuple[float, BatchLoss]]) -> BatchLoss:
    def mean(shares: Sequence[tuple[float, Tensor]]) -> Tensor:
        return torch.stack([share * value for share, value in shares]).sum()

    # A layer that computed no row of a micro-batch has no penalty there, which counts as zero.
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
