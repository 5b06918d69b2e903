"""Checkpoints: written whole or not at all, verified before anything in them is used, never pickled.

    RUN/LATEST                            `step-000600`
    RUN/checkpoints/step-000600/model.safetensors        the model's tensors
                                optimizer.safetensors    the tensors of optimizer and state
                                state.json               their skeletons (see `resnetbk.runs.state`)
                                manifest.json            size and sha256 of each file, of which run and step
                                                         they are, and its own sha256

Beside them may stand `.tmp-...`, which a killed writer left, and `step-000600.old`, which counts as
step-000600 until the checkpoint that replaces it is in place. The next save tidies both up.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from resnetbk.errors import StorageError, shortened
from resnetbk.files import accessing, locked, read_file, replace_own_file, sync_folder
from resnetbk.runs import state
from resnetbk.runs.checkpoint_manifest import (
    MANIFEST,
    MODEL,
    OPTIMIZER,
    SCHEMA,
    STATE,
    digest,
    identity,
    listed,
    sealed,
    step_of,
    verify,
)
from resnetbk.runs.run_folder import CHECKPOINTS, LATEST, LOCK

TEMPORARY, OLD = ".tmp-", ".old"
LONGEST_NAME = 1 << 10

log = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class Checkpoint:
    """A run at one step: the model's tensors by name, the optimizer's state, and all else (see `state`)."""

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    state: dict[str, Any]


def name(step: int) -> str:
    """`step-000600`."""
    return f"step-{step:06d}"


# ---------------------------------------------------------------- writing


def save(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Writes `checkpoint` to folder/step-000600, replacing what stands there, and points LATEST at it.

    Raises StorageError, and leaves all that was there as it was, when the disk is full or not ours.
    """
    final = folder / name(step)
    temporary = folder / f"{TEMPORARY}{final.name}"
    with _writing(folder, final):
        try:
            temporary.mkdir()
            _write(temporary, step, checkpoint)
            _move_in(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    replace_own_file(folder.parent / LATEST, f"{final.name}\n".encode())
    return final


def prune(run: Path, keep: int, best: str | None) -> None:
    """Removes all checkpoints but the `keep` newest, the one LATEST names, and `best` (`step-000400`)."""
    folder = run / CHECKPOINTS
    with _writing(folder, folder):
        wanted = {best, _pointed(run), *(path.name for path in available(run)[-max(1, keep) :])}
        for path in available(run):
            if path.name not in wanted:
                _discard(path)


@contextmanager
def _writing(folder: Path, what: Path) -> Iterator[None]:
    """The only writer in `folder`, which is tidied first: what is temporary now has lost its writer."""
    with accessing(what):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK, wait=True):
            try:
                _tidy(folder)
                yield
            except SafetensorError as error:
                raise StorageError(f"{what}: cannot be written ({shortened(str(error))})") from error


def _tidy(folder: Path) -> None:
    for path in folder.glob(f"{TEMPORARY}*"):
        _remove(path)
    for _, path in _steps(folder):
        if path.name.endswith(OLD):
            os.rename(path, path.with_name(path.name.removesuffix(OLD)))
        elif _old(path).exists():
            _discard(_old(path))


def _write(folder: Path, step: int, checkpoint: Checkpoint) -> None:
    model, weights = state.split(checkpoint.model)
    rest, others = state.split({"optimizer": checkpoint.optimizer, "state": checkpoint.state})
    document = {"state": rest["state"], "optimizer": rest["optimizer"], "model": model}
    (folder / STATE).write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    for file, tensors in ((MODEL, weights), (OPTIMIZER, others)):
        save_file(tensors, folder / file, metadata={"format": "pt"})
        shutil.copymode(folder / STATE, folder / file)  # safetensors gives the owner alone access
    files = {file: digest(folder / file, sync=True) for file in (MODEL, OPTIMIZER, STATE)}
    (folder / MANIFEST).write_bytes(sealed(SCHEMA, identity(folder.parent.parent), step, files))
    digest(folder / MANIFEST, sync=True)
    sync_folder(folder)


def _move_in(temporary: Path, final: Path) -> None:
    if final.exists():  # a folder that is not empty cannot be replaced in one step
        os.rename(final, _old(final))
    os.rename(temporary, final)
    sync_folder(final.parent)
    if _old(final).exists():
        _discard(_old(final))


def _old(path: Path) -> Path:
    return path.with_name(path.name + OLD)


def _discard(path: Path) -> None:
    """Removes a checkpoint so that no half of it is ever taken for a whole one."""
    doomed = path.with_name(f"{TEMPORARY}{path.name}")
    os.rename(path, doomed)
    _remove(doomed)


def _remove(path: Path) -> None:
    """Of a link the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


# ---------------------------------------------------------------- which there are


def available(run: Path) -> list[Path]:
    """The checkpoints of a run by rising step, not verified."""
    return [path for _, path in _steps(run / CHECKPOINTS)]


def latest(run: Path) -> Path:
    """The checkpoint that LATEST names; failing that, with a warning in the log, the newest good one.

    Raises StorageError when there are no checkpoints, or LATEST is no help and none of them is good.
    """
    paths = available(run)
    if not paths:
        raise StorageError(f"{run}: has no checkpoint")
    pointed = _pointed(run)
    for path in paths:
        if path.name.removesuffix(OLD) == pointed:
            return path
    good = _newest_good(paths)
    if good is None:
        raise StorageError(f"{run / LATEST}: names no checkpoint, and all {len(paths)} here are damaged")
    log.warning("%s: names no checkpoint; going by the newest good one, %s", run / LATEST, good)
    return good


def _steps(folder: Path) -> list[tuple[int, Path]]:
    paths: dict[int, Path] = {}
    with accessing(folder, "read"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            step = step_of(path)
            if step is not None and path.is_dir() and not path.is_symlink():
                paths.setdefault(step, path)  # sorted: `step-000600` before `step-000600.old`
    return sorted(paths.items())


def _pointed(run: Path) -> str | None:
    if not os.path.lexists(run / LATEST):
        return None
    return read_file(run / LATEST, LONGEST_NAME).decode("utf-8", "replace").strip()


def _newest_good(paths: list[Path]) -> Path | None:
    for path in reversed(paths):
        with suppress(StorageError):
            verify(path)
            return path
    return None


# ---------------------------------------------------------------- reading


def check_lock(run: Path) -> None:
    """Raises StorageError when a run's spec.lock.toml is not the one that its latest checkpoint is of: before
    anything in it is believed. A run without checkpoints has nothing to tell it by."""
    if available(run):
        path = latest(run)
        with _offering_the_one_before(path):
            listed(path)


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Raises StorageError naming `path` unless names and shapes are the model's."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StorageError(
            f"{path}: the checkpoint does not fit its spec ({shortened(str(error))})"
        ) from error


def load(path: Path, *, device: str | torch.device = "cpu", with_optimizer: bool = True) -> Checkpoint:
    """Verifies every file, then reads. The model's tensors come on `device`; all others, which
    `load_state_dict` moves by itself, on the CPU.

    Without the optimizer its tensors, often twice the model, are verified but never held in memory, and
    `Checkpoint.optimizer` is empty. Raises StorageError naming the damaged file and, if there is one, the
    checkpoint before it that is good.
    """
    with _offering_the_one_before(path):
        verify(path)
        return _load(path, device, with_optimizer)


@contextmanager
def _offering_the_one_before(path: Path) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        step = step_of(path) or 0
        good = _newest_good([earlier for number, earlier in _steps(path.parent) if number < step])
        offer = "there is no good checkpoint before it"
        if good:
            offer = f"the previous good checkpoint is {good}: remove {path.name} to go on from it"
        raise StorageError(f"{error}; {offer}") from error


def _load(path: Path, device: str | torch.device, with_optimizer: bool) -> Checkpoint:
    try:
        with accessing(path, "read"):
            document = json.loads(read_file(path / STATE))
            weights = _tensors(path / MODEL)
            others = _tensors(path / OPTIMIZER, "" if with_optimizer else "state.")
        model = state.join(document["model"], weights)
        return Checkpoint(
            {key: tensor.to(device) for key, tensor in model.items()},
            state.join(document["optimizer"], others) if with_optimizer else {},
            state.join(document["state"], others),
        )
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StorageError(
            f"{path}: whole, but this version cannot read it ({shortened(str(error))})"
        ) from error


def _tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        # cloned, because safetensors maps the file: what happened to it later would happen to the weights
        return {key: file.get_tensor(key).clone() for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
