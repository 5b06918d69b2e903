"""Several processes that train one model, as `torchrun` starts them: data parallelism over gloo or nccl.

All begin with the same weights, choose the same windows from the same losses, and make the same update. Each
differentiates its share of the batch; then gradients are averaged, weighted by shares: after the strategy has
done all its passes, however many, and before the update. At each step random numbers go on from where the
first process is, each process with its own, and so do buffers, as a running statistic of its share.

All evaluate, each its share; the first process alone saves, tells observers and prints. A run in several
processes gives the losses of one process with the same batch but for rounding, in so far as nothing is random
within the model and no part of it depends on the batch as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, distributed, nn

from resnetbk.errors import UserError
from resnetbk.kinds import BatchLoss, Windows
from resnetbk.spec.spec import Spec
from resnetbk.training.meeting import Deserted, meet


@attrs.frozen
class Processes:
    """Where this process stands among those of its run; `Processes()` is alone, and talks to nobody."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Processes:
        """As torchrun says in the environment; see `meet`, which the first call waits for."""
        return cls(*meet())

    @property
    def first(self) -> bool:
        return self.rank == 0

    def check(self, spec: Spec) -> None:
        """Raises UserError, a line for each key, for what several processes cannot do."""
        if self.size == 1:
            return
        train, strategy, selector = spec.train, spec.train.gradient, spec.data.selector
        what = f"which {self.size} processes need"
        wrong = []
        if train.seconds:
            wrong.append("train.seconds: processes have no clock in common; give train.steps alone")
        if train.batch < self.size:
            wrong.append(f"train.batch: {train.batch} windows cannot be shared among {self.size} processes")
        if self.lockstep(spec) and train.batch % self.size:
            equal = f"which train.parallel = {train.parallel!r} needs; give a multiple of {self.size}"
            wrong.append(f"train.batch: {train.batch} windows cannot be shared equally, {equal}")
        if self.lockstep(spec) and train.compile is True:
            wrong.append(f"train.compile: train.parallel = {train.parallel!r} runs uncompiled; leave it out")
        if "data-parallel" not in strategy.entry.provides:
            wrong.append(f"train.gradient: {strategy.name!r} does not provide 'data-parallel', {what}")
        if "deterministic" not in selector.entry.provides:
            wrong.append(f"data.selector: {selector.name!r} does not provide 'deterministic', {what}")
        if wrong:
            raise UserError(*wrong)

    def lockstep(self, spec: Spec) -> bool:
        """Whether each layer runs in all of them at the same time: see `sharding`."""
        return self.size > 1 and spec.train.parallel != "average"

    def share(self, windows: Windows) -> Windows:
        """This process's windows: neighbours, as many as the others have or one more; all if there are too
        few for every process to have one."""
        if self.size == 1 or len(windows.starts) < self.size:
            return windows
        return attrs.evolve(windows, starts=np.array_split(windows.starts, self.size)[self.rank])

    def align(self, model: nn.Module) -> None:
        """The first process's buffers that a checkpoint holds, and random numbers, drawn apart in each."""
        if self.size == 1:
            return
        state = torch.get_rng_state()
        saved = model.state_dict().keys()
        with _together():
            distributed.broadcast(state, 0)
            for name, buffer in model.named_buffers():
                if name in saved:
                    sent = buffer.to(torch.uint8) if buffer.dtype == torch.bool else buffer.contiguous()
                    distributed.broadcast(sent, 0)
                    buffer.copy_(sent)
        torch.set_rng_state(state)
        seed = int(torch.randint(2**48, ()))  # drawn in the first too, so that each step has another
        if not self.first:
            torch.manual_seed(seed + self.rank)

    def gather(self, value: Any) -> list[Any]:
        """A JSON value of each process, in the order of their ranks; torch's own way would unpickle."""
        if self.size == 1:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with _together():
            distributed.all_gather(sizes, torch.tensor([len(own)]))
            texts = [torch.empty(int(max(sizes)), dtype=torch.uint8) for _ in sizes]
            distributed.all_gather(texts, nn.functional.pad(own, (0, len(texts[0]) - len(own))))
        pairs = zip(texts, sizes, strict=True)
        return [json.loads(text[: int(size)].numpy().tobytes()) for text, size in pairs]

    def average(self, result: BatchLoss, parameters: Sequence[nn.Parameter]) -> BatchLoss:
        """The objective of the whole batch, and its gradient in `.grad`, from those of the shares. A gradient
        is sparse where every process that has one has a sparse one. Those of distributed parameters are the
        mean already; raises UserError where shares were not equal."""
        if self.size == 1:
            return result
        device = result.loss.device
        parts = self.gather(
            {
                "loss": float(result.loss),
                "cross_entropy": float(result.cross_entropy),
                "window_losses": result.window_losses.float().tolist(),
                "penalties": {name: float(value) for name, value in result.penalties.items()},
                "layouts": [_layout(parameter) for parameter in parameters],
            }
        )
        windows = [len(part["window_losses"]) for part in parts]
        shares = [count / sum(windows) for count in windows]
        if len(set(windows)) > 1 and any(hasattr(parameter, "full_tensor") for parameter in parameters):
            raise UserError(f"data.selector: gave {sum(windows)} windows, which are no equal shares")
        layouts = [max(each) for each in zip(*(part["layouts"] for part in parts), strict=True)]
        by_layout = list(zip(parameters, layouts, strict=True))
        _add([parameter for parameter, layout in by_layout if layout == DENSE], shares[self.rank])
        for parameter in (parameter for parameter, layout in by_layout if layout == SPARSE):
            self._add_sparse(parameter, shares[self.rank])

        def mean(values: list[float]) -> Tensor:
            return torch.tensor(np.dot(shares, values), dtype=torch.float32, device=device)

        names = dict.fromkeys(name for part in parts for name in part["penalties"])
        losses = [loss for part in parts for loss in part["window_losses"]]
        return BatchLoss(
            loss=mean([part["loss"] for part in parts]),
            cross_entropy=mean([part["cross_entropy"] for part in parts]),
            window_losses=torch.tensor(losses, device=device),
            penalties={name: mean([part["penalties"].get(name, 0.0) for part in parts]) for name in names},
        )

    def _add_sparse(self, parameter: nn.Parameter, share: float) -> None:
        """As `_add`, by indices and values, which nccl gathers and does not add; coalesced."""
        like, shape, grad = parameter.detach(), parameter.shape, parameter.grad
        if grad is None:
            nothing = torch.empty(1, 0, dtype=torch.int64, device=like.device)
            grad = torch.sparse_coo_tensor(
                nothing, like.new_empty(0, *shape[1:]), shape, check_invariants=False
            )
        grad = grad.coalesce()
        indices, values = grad.indices(), grad.values() * share
        counts = self.gather(len(values))
        padded = max(counts) - len(values)
        values = torch.cat([values, values.new_zeros(padded, *values.shape[1:])])
        with _together():
            all_indices = _gathered(nn.functional.pad(indices, (0, padded)), self.size)
            all_values = _gathered(values, self.size)
        where = torch.cat([part[:, :n] for part, n in zip(all_indices, counts, strict=True)], 1)
        what = torch.cat([part[:n] for part, n in zip(all_values, counts, strict=True)])
        parameter.grad = torch.sparse_coo_tensor(where, what, shape, check_invariants=False).coalesce()


ALONE = Processes()

GONE = "another process of this run has ended; see what it said"

SPARSE, DENSE = 1, 2
"""Layouts of a gradient; 0 where there is none to average. The largest that a process has is that of all."""


def _layout(parameter: nn.Parameter) -> int:
    if parameter.grad is None or hasattr(parameter, "full_tensor"):
        return 0
    return SPARSE if parameter.grad.is_sparse else DENSE


def _gathered(own: Tensor, size: int) -> list[Tensor]:
    """A tensor of each process, all of one shape."""
    parts = [torch.empty_like(own) for _ in range(size)]
    distributed.all_gather(parts, own.contiguous())
    return parts


def _add(parameters: Sequence[nn.Parameter], share: float) -> None:
    """Leaves in `.grad` the sum over processes of share * gradient; one call for all of a kind."""
    kinds: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter in parameters:
        kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for alike in kinds.values():
        own = [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in alike]
        flat = torch.cat([gradient.reshape(-1) for gradient in own]) * share
        with _together():
            distributed.all_reduce(flat)
        for parameter, gradient in zip(alike, torch.split(flat, [p.numel() for p in alike]), strict=True):
            parameter.grad = gradient.view_as(parameter)


@contextmanager
def _together() -> Iterator[None]:
    """Says in one line that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise Deserted(GONE) from error
