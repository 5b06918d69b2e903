"""Files: written whole or not at all, locked by who writes, and refused in one line."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from resnetbk.errors import StorageError

LARGEST = 256 << 20
"""Bytes that one of our own files in one piece can have, unless it says less."""

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How JSON spells what it has no number for."""


@contextmanager
def accessing(path: Path, verb: str = "written") -> Iterator[None]:
    """Says in one line what the system refuses: `runs/x: cannot be written (No space left on device)`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be {verb} ({error.strerror or error})") from error


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, to be read. Raises StorageError for what might never end: a pipe, a device."""
    with accessing(path, "read"):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise StorageError(f"{path}: cannot be read (it is no regular file)")
        with open(path, "rb") as file:
            yield file


def read_file(path: Path, most: int = LARGEST) -> bytes:
    """The content of a regular file. Raises StorageError for anything else, and beyond `most` bytes."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise StorageError(f"{path}: damaged ({size:,} bytes, where at most {most:,} can be)")
        return file.read(size)


@contextmanager
def appending(path: Path) -> Iterator[BinaryIO]:
    """A regular file of ours, created if need be, to be added to and read. Raises StorageError for anything
    else, a link too."""
    with accessing(path):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(path, flags, 0o666)
        with open(handle, "ab+") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise StorageError(f"{path}: cannot be written (it is no regular file)")
            yield file


def replace_file(path: Path, data: bytes, *, parents: bool = False) -> None:
    """Writes a file so that at every moment either the old one or the new one stands there, on disk; with
    `parents`, in folders that are created if need be. A link stays a link. Raises StorageError, also for a
    device or a pipe."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise StorageError(f"{path}: cannot be written (it is no regular file)")
    if parents:
        with accessing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    replace_own_file(path, data)


def replace_own_file(path: Path, data: bytes) -> None:
    """`replace_file` for a file of ours in a folder of ours: a link in its place goes, not followed."""
    with accessing(path), replacing(path, temporary(path)) as file:
        file.write(data)


def temporary(path: Path) -> Path:
    """Where a file is written before it is whole; whatever stands there has lost its writer."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def replacing(path: Path, temporary: Path) -> Iterator[BinaryIO]:
    """A file that is written at `temporary`, beside `path`, and takes its place once it is whole and on disk;
    after an error nothing has changed."""
    try:
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb") as file:  # never through a link
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


def sha256_of(path: Path) -> str:
    """Of a regular file, in hexadecimal. Raises StorageError."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_crc(tree: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values with a CRC-32 of them, so that any change to them shows."""
    return {**tree, "crc32": _crc(tree)}


def without_crc(text: bytes) -> dict[str, Any] | None:
    """What was given to `with_crc`, from its JSON; None if it is no longer that."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(tree, dict) or "crc32" not in tree:
        return None
    values = {key: value for key, value in tree.items() if key != "crc32"}
    return values if tree["crc32"] == _crc(values) else None


def _crc(tree: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(tree, sort_keys=True).encode())


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
