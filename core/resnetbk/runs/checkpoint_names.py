"""Which checkpoints a run has, which of them is the latest, and whether they are of its spec.lock.toml."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from resnetbk.errors import StorageError
from resnetbk.files import accessing, read_file
from resnetbk.runs.checkpoint_manifest import listed, step_of, verify
from resnetbk.runs.run_folder import CHECKPOINTS, LATEST

OLD = ".old"
LONGEST_NAME = 1 << 10

log = logging.getLogger(__name__)


def name(step: int) -> str:
    """`step-000600`."""
    return f"step-{step:06d}"


def available(run: Path) -> list[Path]:
    """The checkpoints of a run by rising step, not verified."""
    return [path for _, path in steps(run / CHECKPOINTS)]


def latest(run: Path) -> Path:
    """The checkpoint that LATEST names; failing that, with a warning in the log, the newest good one.

    Raises StorageError when there are no checkpoints, when LATEST is no file, and when it names none of them
    and none is good.
    """
    paths = available(run)
    if not paths:
        raise StorageError(f"{run}: has no checkpoint")
    wanted = pointed(run)
    for path in paths:
        if path.name.removesuffix(OLD) == wanted:
            return path
    good = newest_good(paths)
    if good is None:
        raise StorageError(f"{run / LATEST}: names no checkpoint, and all {len(paths)} here are damaged")
    log.warning("%s: names no checkpoint; going by the newest good one, %s", run / LATEST, good)
    return good


def steps(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in `checkpoints/`, by rising step."""
    paths: dict[int, Path] = {}
    with accessing(folder, "read"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            step = step_of(path)
            if step is not None and path.is_dir() and not path.is_symlink():
                paths.setdefault(step, path)  # sorted: `step-000600` before `step-000600.old`
    return sorted(paths.items())


def pointed(run: Path) -> str | None:
    """What LATEST says, None without one. Raises StorageError when it is no file, or too long."""
    if not os.path.lexists(run / LATEST):
        return None
    return read_file(run / LATEST, LONGEST_NAME).decode("utf-8", "replace").strip()


def newest_good(paths: list[Path]) -> Path | None:
    """The last of `paths` that is whole."""
    for path in reversed(paths):
        with suppress(StorageError):
            verify(path)
            return path
    return None


def check_lock(run: Path) -> None:
    """Raises StorageError when a run's spec.lock.toml is not the one that its latest checkpoint is of: before
    anything in it is believed. A run without checkpoints has nothing to tell it by."""
    path = latest(run) if available(run) else None
    while path is not None:
        try:
            with offering_the_one_before(path):
                listed(path)
            return
        except StorageError:  # a run that trains may have dropped it
            path, before = latest(run), path
            if path == before:
                raise


@contextmanager
def offering_the_one_before(path: Path) -> Iterator[None]:
    """Adds to what is wrong with a checkpoint which one before it is good."""
    try:
        yield
    except StorageError as error:
        step = step_of(path) or 0
        good = newest_good([earlier for number, earlier in steps(path.parent) if number < step])
        offer = "there is no good checkpoint before it"
        if good:
            offer = f"the previous good checkpoint is {good}: remove {path.name} to go on from it"
        raise StorageError(f"{error}; {offer}") from error
