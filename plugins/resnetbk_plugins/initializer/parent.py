"""A parent run, from which another run starts: read completely and checked before any of it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import torch
from torch import Tensor

from resnetbk.errors import StorageError, UserError, one_line
from resnetbk.kinds import ParentCosts, Tokenizer
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint, spec_lock
from resnetbk.runs.run_folder import RunFolder
from resnetbk.spec.spec import Spec
from resnetbk.training.memory import largest_files
from resnetbk.training.run_state import RunState


@attrs.frozen(eq=False)
class ParentRun:
    """A trained run at its latest checkpoint.

    weights  the model's tensors by name
    cost     of its training: see `RunState.training_cost`
    """

    path: str
    step: int
    spec: Spec
    tokenizer: Tokenizer
    weights: dict[str, Tensor]
    cost: dict[str, float]

    @property
    def parents(self) -> ParentCosts:
        """Its cost by its folder."""
        return {identity(self.path): self.cost}

    def line(self) -> str:
        cost = self.cost
        return (
            f"{self.path} at step {self.step}, which cost {cost['seconds']:.3g} s, {cost['flops']:.3g} "
            f"FLOPs and {cost['tokens']:.3g} tokens to train"
        )


def identity(path: str) -> str:
    """The real path of a run's folder."""
    return os.path.realpath(Path(path).expanduser())


@contextmanager
def reading(key: str, path: str) -> Iterator[None]:
    """Raises one StorageError for anything wrong with the run in the folder `path`, which a spec's `key`
    names."""
    try:
        yield
    except UserError as error:
        raise StorageError(f"{key}: {error.mistakes[0]}") from error
    except StorageError as error:
        raise StorageError(f"{key}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        cause = one_line(error)
        raise StorageError(f"{key}: {path}: is not a run that this version can read ({cause})") from error


def read_parent(path: str) -> ParentRun:
    """The run in the folder `path`; its components must be installed, or named by --registry
    or RESNETBK_REGISTRY.

    Raises StorageError for one that is missing, damaged, or not a run.
    """
    with reading("train.start", path):
        folder = RunFolder.open(Path(path).expanduser())
        spec = spec_lock.read(folder, Registry.discover())
        at = checkpoint.latest(folder.path)
        saved = checkpoint.load(at, with_optimizer=False, largest=largest_files(spec))
        state = RunState.of(saved, at)
        tokenizer = spec.data.tokenizer.component.restore(state=state.tokenizer)
    for name, tensor in saved.model.items():
        if not torch.isfinite(tensor).all():
            raise StorageError(f"train.start: {at}: {name!r} is not finite")
    return ParentRun(path, state.step, spec, tokenizer, saved.model, state.training_cost())
