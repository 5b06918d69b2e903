"""Files that are expensive to write and can be written again: in one folder, named by all they depend on.

Each may be deleted while no run is using it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from resnetbk.errors import StorageError
from resnetbk.files import locked, read_file, replacing, sha256_of
from resnetbk.terminal import told_if_slow


def cache_folder() -> Path:
    """RESNETBK_CACHE, else resnetbk under XDG_CACHE_HOME or ~/.cache; RuntimeError without a home folder."""
    if own := os.environ.get("RESNETBK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "resnetbk"


def cached_file(name: str, write: Callable[[BinaryIO], object]) -> Path:
    """The file `name` in the cache: written by `write`, whole or not at all, unless it is there and has the
    sha256 that stands beside it. Of several processes that want it one writes, and the others wait.

    Raises StorageError, and what `write` raises.
    """
    try:
        path = cache_folder() / name
        digest = path.with_name(f"{path.name}.sha256")
        if not _is_whole(path, digest):
            path.parent.mkdir(parents=True, exist_ok=True)
            _tidy(path.parent)
            with ExitStack() as lock:
                with told_if_slow(f"{name}: waiting for another process to write it, which"):
                    lock.enter_context(locked(path.with_name(f".{path.stem}.lock"), wait=True))
                if not _is_whole(path, digest):
                    _write(path, write)
                    _write(digest, lambda file: file.write(sha256_of(path).encode()))
        return path
    except (OSError, RuntimeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot write {name} to the cache ({cause}); RESNETBK_CACHE names its folder"
        ) from error


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    with replacing(path, path.with_name(f".new-{os.urandom(8).hex()}")) as file:
        write(file)


def _tidy(folder: Path) -> None:
    """Removes what writers left that were killed a day ago or earlier."""
    for unfinished in folder.glob(".new-*"):
        if time.time() - unfinished.lstat().st_mtime > 86400:
            unfinished.unlink(missing_ok=True)


def _is_whole(path: Path, digest: Path) -> bool:
    try:
        return read_file(digest, 64) == sha256_of(path).encode()
    except StorageError:  # not there, or no file
        return False
