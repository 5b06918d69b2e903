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
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
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
from resnetbk.files import temporary as unfinished
from resnetbk.runs import checkpoint_manifest as manifest
from resnetbk.runs import state
from resnetbk.runs.checkpoint_names import (
    OLD,
    available,
    latest,
    name,
    offering_the_one_before,
    pointed,
    steps,
)
from resnetbk.runs.run_folder import CHECKPOINTS, LATEST, LOCK, METRICS
from resnetbk.whole_process import part

__all__ = ["Checkpoint", "available", "latest", "load", "load_weights", "name", "point", "prune", "save"]

TEMPORARY = ".tmp-"


@attrs.frozen(eq=False)
class Checkpoint:
    """A run at one step: the model's tensors by name, the optimizer's state, and all else (see `state`)."""

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    state: dict[str, Any]


# ---------------------------------------------------------------- writing


@part("saving")
def save(folder: Path, step: int, checkpoint: Checkpoint, *, unchanged: bool = False) -> Path:
    """Writes `checkpoint` to folder/step-000600, replacing what stands there, and points LATEST at it.
    `unchanged`: the tensors are those that stand there, whose files are then not written again.

    Raises StorageError, and leaves all that was there as it was, when the disk is full or not ours.
    """
    final = folder / name(step)
    temporary = folder / f"{TEMPORARY}{final.name}"
    with _writing(folder, final):
        try:
            temporary.mkdir()
            _write(temporary, step, checkpoint, final if unchanged else None)
            _move_in(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    point(folder.parent, final)
    return final


def point(run: Path, path: Path) -> None:
    """Makes LATEST name the checkpoint at `path`, which `prune` then keeps."""
    replace_own_file(run / LATEST, f"{path.name.removesuffix(OLD)}\n".encode())


def prune(run: Path, keep: int, best: str | None) -> None:
    """Removes all checkpoints but the `keep` newest, the one LATEST names, and `best` (`step-000400`)."""
    folder = run / CHECKPOINTS
    with _writing(folder, folder):
        wanted = {best, pointed(run), *(path.name for path in available(run)[-max(1, keep) :])}
        for path in available(run):
            if path.name not in wanted:
                _discard(path)


@contextmanager
def _writing(folder: Path, what: Path) -> Iterator[None]:
    """The only writer in `folder`, which is tidied first: what is temporary now has lost its writer."""
    with accessing(what):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink():
            raise StorageError(f"{folder}: is a link; what a run writes stays in its folder")
        with locked(folder / LOCK, wait=True):
            try:
                _tidy(folder)
                yield
            except SafetensorError as error:
                raise StorageError(f"{what}: cannot be written ({shortened(str(error))})") from error


def _tidy(folder: Path) -> None:
    for path in folder.glob(f"{TEMPORARY}*"):
        _remove(path)
    for file in (LATEST, METRICS):
        unfinished(folder.parent / file).unlink(missing_ok=True)
    for _, path in steps(folder):
        if path.name.endswith(OLD):
            os.rename(path, path.with_name(path.name.removesuffix(OLD)))
        elif _old(path).exists():
            _discard(_old(path))


def _write(folder: Path, step: int, checkpoint: Checkpoint, same: Path | None) -> None:
    files: dict[str, Any] = {}
    if same is not None:
        with suppress(StorageError, OSError):  # then they are written: not every disk gives a file two names
            for file in (manifest.MODEL, manifest.OPTIMIZER):
                listed = manifest.listed(same)[file]
                os.link(same / file, folder / file)
                files[file] = listed
    model, weights = state.split(checkpoint.model)
    rest, others = state.split({"optimizer": checkpoint.optimizer, "state": checkpoint.state})
    document = {"state": rest["state"], "optimizer": rest["optimizer"], "model": model}
    (folder / manifest.STATE).write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    for file, tensors in ((manifest.MODEL, weights), (manifest.OPTIMIZER, others)):
        if file not in files:
            save_file(tensors, folder / file, metadata={"format": "pt"})
            # safetensors gives the owner alone access
            shutil.copymode(folder / manifest.STATE, folder / file)
    for file in set(manifest.FILES) - set(files):
        files[file] = manifest.digest(folder / file, sync=True)
    run = manifest.identity(folder.parent.parent)
    (folder / manifest.MANIFEST).write_bytes(manifest.sealed(manifest.SCHEMA, run, step, files))
    manifest.digest(folder / manifest.MANIFEST, sync=True)
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


# ---------------------------------------------------------------- reading


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Raises StorageError naming `path` unless names and shapes are the model's."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StorageError(
            f"{path}: the checkpoint does not fit its spec ({shortened(str(error))})"
        ) from error


def load(
    path: Path,
    *,
    device: str | torch.device = "cpu",
    with_optimizer: bool = True,
    largest: Callable[[Any], Mapping[str, int]] | None = None,
) -> Checkpoint:
    """Verifies every file, then reads. The model's tensors come on `device`; all others, which
    `load_state_dict` moves by itself, on the CPU.

    Without the optimizer its tensors, often twice the model, are verified but never held in memory, and
    `Checkpoint.optimizer` is empty. `largest`: see `verify`. Raises StorageError naming the damaged file and,
    if there is one, the checkpoint before it that is good.
    """
    with offering_the_one_before(path):
        manifest.verify(path, largest)
        return _load(path, device, with_optimizer)


def _load(path: Path, device: str | torch.device, with_optimizer: bool) -> Checkpoint:
    try:
        with accessing(path, "read"):
            document = json.loads(read_file(path / manifest.STATE))
            weights = _tensors(path / manifest.MODEL)
            others = _tensors(path / manifest.OPTIMIZER, "" if with_optimizer else "state.")
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
