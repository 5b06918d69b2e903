"""Files: written whole or not at all, locked by who writes, and refused in one line."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from resnetbk.errors import StorageError

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How JSON spells what it has no number for."""


@contextmanager
def accessing(path: Path, verb: str = "written") -> Iterator[None]:
    """Says in one line what the system refuses: `runs/x: cannot be written (No space left on device)`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be {verb} ({error.strerror or error})") from error


def replace_file(path: Path, data: bytes, *, parents: bool = False) -> None:
    """Writes a file so that at every moment either the old one or the new one stands there, on disk; with
    `parents`, in folders that are created if need be. A link stays a link. Raises StorageError, also for a
    device or a pipe."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise StorageError(f"{path}: cannot be written (it is no regular file)")
    with accessing(path):
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, path.with_name(f".{path.name}.tmp")) as file:
            file.write(data)


@contextmanager
def replacing(path: Path, temporary: Path) -> Iterator[BinaryIO]:
    """A file that is written at `temporary`, beside `path`, and takes its place once it is whole and on disk;
    after an error nothing has changed."""
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder last through a power failure, on disks that can."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks
            raise
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Holds the lock file `path`, created if need be, until it is left or this process dies.

    Raises BlockingIOError when another process has it and not `wait`.
    """
    from filelock import FileLock, Timeout  # here, since most commands write nothing

    os.stat(path.parent)  # filelock would make a folder that is gone
    lock = FileLock(path, timeout=-1 if wait else 0, mode=0o666)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError from None
    try:
        yield
    finally:
        lock.release()


def spelled(value: Any) -> Any:
    """JSON values with what is not finite as a string; `numbers` reads it back, and so does `float`."""
    if isinstance(value, Mapping):
        return {str(key): spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spelled(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def numbers(value: Any) -> Any:
    """JSON values with the strings of `spelled` as numbers again."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value
