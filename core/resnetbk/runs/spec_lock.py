"""A run's spec.lock.toml, believed only when it is the one that the run's checkpoints were written with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnetbk.errors import StorageError, UserError
from resnetbk.lock.lock import load_lock, read_lock
from resnetbk.registry.lookup import Registry
from resnetbk.runs.checkpoint_names import check_lock
from resnetbk.runs.run_folder import RunFolder
from resnetbk.spec.spec import Spec


def load(folder: RunFolder) -> dict[str, Any]:
    """Its tree; nothing that it names need be installed. Raises StorageError when it is damaged."""
    check_lock(folder.path)
    try:
        return load_lock(folder.spec_lock)
    except UserError as error:  # it was we who wrote it
        raise StorageError(f"{folder.spec_lock}: damaged ({error.mistakes[0].message})") from None


def read(folder: RunFolder, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    """Its spec, with `sets` (`key=value`) laid over it. Raises StorageError when it is damaged, UserError
    when a component is missing."""
    load(folder)
    return read_lock(folder.spec_lock, registry, sets)
