"""Which files a path names: files, folders and glob patterns, each real file once."""

from __future__ import annotations

import filecmp
import glob
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from resnetbk.errors import StorageError, UserError
from resnetbk.files import accessing
from resnetbk_plugins.corpus.reading import and_more, warn

_ANY_DEPTH = re.compile(r"(?:^|(?<=/))\*\*(?:/|$)")


def find(corpus: str, paths: Sequence[str], patterns: Sequence[str] = ()) -> list[Path]:
    """The regular files that `paths` name, each once whatever links lead to it, in the order of their paths.

    Within folders only those whose names match one of `patterns`, if there are any. Pipes, devices and links
    to nothing are left out with a warning. Raises UserError, naming each path that names no file.
    """
    named = {path: expand(path, patterns) for path in paths}
    files = {path: [name for name in names if os.path.isfile(name)] for path, names in named.items()}
    missing = [f"{corpus}: {_complaint(path, patterns)}" for path in paths if not files[path]]
    if missing:
        raise UserError(*missing)
    every = {name for names in named.values() for name in names}
    others = sorted(str(Path(name)) for name in every if not os.path.isfile(name) and not os.path.isdir(name))
    if others:
        warn(f"{corpus}: left out what is no regular file: {and_more(others)}")
    return _once(corpus, {Path(name) for names in files.values() for name in names})


def _once(corpus: str, paths: set[Path]) -> list[Path]:
    """The files in the order of their paths: of several paths to one the first, but links last."""
    files: dict[tuple[int, int], Path] = {}
    for path in sorted(paths, key=lambda path: (path.is_symlink(), path.as_posix())):
        files.setdefault(identity(path), path)
    again = sorted(str(path) for path in paths - set(files.values()))
    if again:
        warn(f"{corpus}: left out links to files that are read already: {and_more(again)}")
    return sorted(files.values(), key=Path.as_posix)


def identity(path: Path | str) -> tuple[int, int]:
    """What is the same for all paths to a file or folder, and for no other."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def state(file: str) -> list[str | int]:
    """Path, size and modification time: whether a file was changed."""
    status = os.stat(file)
    return [os.path.abspath(file), status.st_size, status.st_mtime_ns]


def copies(files: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Those of `files` that hold the same bytes as one of `others`; only files of one size are compared."""
    by_size: dict[int, list[Path]] = {}
    for other in others:
        by_size.setdefault(other.stat().st_size, []).append(other)
    by_size.pop(0, None)  # nothing can be learned from those
    same = []
    for file in files:
        with accessing(file, "read"):
            alike = by_size.get(file.stat().st_size, ())
            if any(filecmp.cmp(file, other, shallow=False) for other in alike):
                same.append(file)
    return same


def expand(path: str, patterns: Sequence[str] = ()) -> list[str]:
    """What a path names: itself, what is in the folder and below except hidden files, or what matches."""
    expanded = os.path.expanduser(path)
    if not os.path.isdir(expanded):
        return [expanded] if os.path.isfile(expanded) else list(_matches(Path(expanded).as_posix()))
    below = ((folder, name) for folder, names in _walk(expanded) for name in names if name[0] != ".")
    return [
        os.path.join(*file) for file in below if not patterns or any(fnmatch(file[1], p) for p in patterns)
    ]


def _matches(pattern: str) -> Iterator[str]:
    """`glob.glob`, recursive; but `**` enters each real folder once, as links may go round in circles."""
    place = _ANY_DEPTH.search(pattern)
    if not place:
        yield from glob.glob(pattern)
        return
    head, tail = pattern[: place.start()], pattern[place.end() :]
    for top in glob.glob(head) if head else ["."]:
        for folder, _ in _walk(top):
            yield from _matches(Path(glob.escape(folder), tail or "*").as_posix())


def _walk(top: str) -> Iterator[tuple[str, list[str]]]:
    """Each real folder once, with the names of its files: `top` and those below, except hidden ones; linked
    ones last, so that a folder's path is its own where it has one. Not those that `top` lies in."""
    seen = {identity(folder) for folder in Path(os.path.realpath(top)).parents}
    starts = deque([top])
    while starts:
        for folder, folders, names in os.walk(starts.popleft(), onerror=_refuse):
            if identity(folder) in seen:
                folders.clear()
                continue
            seen.add(identity(folder))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = (os.path.join(folder, name) for name in folders)
            starts.extend(path for path in below if os.path.islink(path))
            yield folder, names


def _complaint(path: str, patterns: Sequence[str]) -> str:
    expanded = os.path.expanduser(path)
    if os.path.isdir(expanded):
        those = f" that match patterns = {list(patterns)}" if patterns else ""
        return f"the folder {path!r} holds no files{those}"
    if os.path.exists(expanded):
        return f"{path!r} is neither a file nor a folder"
    if glob.has_magic(expanded):
        return f"no file matches {path!r}"
    return f"there is no file or folder {path!r}"


def _refuse(error: OSError) -> NoReturn:
    raise StorageError(f"corpus: cannot read {error.filename}: {error.strerror}") from error
