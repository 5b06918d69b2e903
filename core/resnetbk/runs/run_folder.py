"""The folder of a run: what stands where, written so that a crash at any moment leaves it whole.

A run is `spec.lock.toml`, `metrics.jsonl`, `checkpoints/step-000600/`, `LATEST` and `report.html`; nothing
outside its folder is needed to read it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from resnetbk import files
from resnetbk.errors import StorageError, UserError, nearest

CHECKPOINTS, LATEST, METRICS = "checkpoints", "LATEST", "metrics.jsonl"
SPEC_LOCK = "spec.lock.toml"
LOCK, WRITER = ".lock", ".writer"
LONGEST_LINE = 1 << 20
"""Bytes of a line of metrics, and of a lock."""
BEFORE_A_RUN = {LOCK, WRITER, f".{WRITER}.tmp", f".{SPEC_LOCK}.tmp"}
"""What a process leaves that ended before its run had a lock."""


log = logging.getLogger(__name__)


@attrs.frozen
class RunFolder:
    """One run. Any number of processes may read it; the one that trains is in `writing()` while it does."""

    path: Path
    _inode: int | None = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: _number(self.path), True)
    )

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A folder for a new run. Raises UserError when something is in it already."""
        with files.accessing(path):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise UserError(f"{path}: is, or lies under, a file; choose another --out") from None
            if any(entry.name not in BEFORE_A_RUN for entry in path.iterdir()):
                raise UserError(f"{path}: is not empty; go on with --resume, or choose another --out")
        return cls(path)

    @classmethod
    def fresh(cls, root: Path, name: str) -> RunFolder:
        """A folder that nothing else has: root/name, then root/name-2, root/name-3, ..."""
        if name in ("", ".", "..") or Path(name).name != name:
            raise UserError(f"{name!r}: cannot be the name of a run; it must be the name of one folder")
        with files.accessing(root):
            root.mkdir(parents=True, exist_ok=True)
            while True:
                number = max(_numbered(root, name), default=0) + 1
                path = root / (name if number == 1 else f"{name}-{number}")
                with suppress(FileExistsError):  # another process was faster
                    path.mkdir()
                    return cls(path)

    @classmethod
    def newest(cls, root: Path, name: str) -> RunFolder:
        """The newest folder of `fresh` for this name. Raises UserError when there is none."""
        for _, path in sorted(_numbered(root, name).items(), reverse=True):
            if _name_in(path / SPEC_LOCK) == name:  # runs of a spec called `name-2` have such folders too
                return cls(path)
        raise UserError(f"{root / name}: no such run to resume")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a run that was begun. Raises UserError when `path` is none."""
        with files.accessing(path, "read"):
            if os.path.lexists(path / SPEC_LOCK):
                return cls(path)
            if path.is_dir():
                raise UserError(f"{path}: is not a run (it has no {SPEC_LOCK})")
            if path.is_file():
                is_spec = path.suffix == ".toml" and not path.name.endswith(".lock.toml")
                spec = f"; from a spec, `resnetbk train {path}` makes one" * is_spec
                raise UserError(f"{path}: is a file; a run is a folder{spec}")
            runs = [lock.parent.name for lock in path.parent.glob(f"*/{SPEC_LOCK}")]
        raise UserError(f"{path}: no such run{nearest(path.name, runs)}")

    @property
    def spec_lock(self) -> Path:
        return self.path / SPEC_LOCK

    @property
    def metrics_file(self) -> Path:
        return self.path / METRICS

    @property
    def writer_file(self) -> Path:
        return self.path / WRITER

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other processes from training here, until it is left or this process dies.

        Raises UserError when another process is in it.
        """
        with ExitStack() as stack:
            with files.accessing(self.path):
                try:
                    stack.enter_context(files.locked(self.path / LOCK, wait=False))
                except BlockingIOError:
                    raise UserError(
                        f"{self.path}: another process ({self._writer()}) is training here"
                    ) from None
                with suppress(PermissionError):  # Windows opens no folders
                    # open, so that no folder in its place gets its number
                    stack.callback(os.close, os.open(self.path, os.O_RDONLY))
                files.replace_own_file(self.writer_file, f"{os.getpid()}\n".encode())
            yield

    def _writer(self) -> str:
        """Who holds the lock, by the number of the process."""
        with suppress(StorageError):
            return files.read_file(self.writer_file, 20).decode(errors="replace").strip() or "unknown"
        return "unknown"

    def discard(self, *, keep: bool = False) -> None:
        """Removes what a run that never began has written, for the one who holds `writing()`, and with it
        the folder, unless to `keep`. A run with checkpoints stays."""
        if self.checkpoints.exists():
            return
        with suppress(OSError):  # it is the error that led here which matters
            for file in (self.path / LOCK, self.writer_file, self.spec_lock, self.metrics_file):
                file.unlink(missing_ok=True)
            if not keep:
                self.path.rmdir()

    def check_same(self) -> None:
        """Raises StorageError when the folder was removed or replaced since; else half a run would begin
        there."""
        if self._inode is not None and _number(self.path) != self._inode:
            raise StorageError(f"{self.path}: cannot be written (it was removed or replaced meanwhile)")

    def write_lock(self, text: str) -> None:
        """Writes spec.lock.toml, whole or not at all, with a number that no other run has."""
        files.replace_own_file(self.spec_lock, f'run = "{os.urandom(8).hex()}"\n{text}'.encode())

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds one line, and the CRC-32 of it. What is not finite is written as a string and read back as a
        number."""
        line = json.dumps(files.with_crc(files.spelled(record)), allow_nan=False).encode() + b"\n"
        if len(line) >= LONGEST_LINE:
            raise StorageError(f"{self.metrics_file}: a line of {len(line):,} bytes is too long")
        self.check_same()
        with files.appending(self.metrics_file) as file:
            _drop_torn_line(file)
            file.write(line)

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines, in order. A last line without its end was cut off by a crash and is left out.

        Raises StorageError for a line that was changed."""
        records = []
        for number, (_, record) in enumerate(self._lines(), 1):
            if record is None:
                raise StorageError(f"{self.metrics_file}:{number}: damaged (its crc32 differs)")
            records.append(record)
        return records

    def ended(self) -> bool:
        """Whether the end of the run is recorded."""
        return any(record and record.get("event") == "finished" for _, record in self._lines())

    def rewind(self, step: int, *, evaluated: bool = True) -> None:
        """Drops the lines of steps beyond `step`, and its evaluation unless it was `evaluated`; lines without
        a step stay. Damaged lines are dropped with a warning in the log: a run does not need them to go on.
        """
        if not os.path.lexists(self.metrics_file):
            return
        damaged = 0
        new = files.temporary(self.metrics_file)
        with files.accessing(self.metrics_file), files.replacing(self.metrics_file, new) as file:
            for line, record in self._lines():
                if record is None:
                    damaged += 1
                elif record.get("step", step) < step + (evaluated or record.get("event") != "evaluation"):
                    file.write(line)
        if damaged:
            log.warning("%s: %d damaged lines are dropped", self.metrics_file, damaged)

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
        """Each whole line and what it holds, None if it is damaged."""
        if not os.path.lexists(self.metrics_file):
            return
        with files.opened(self.metrics_file) as file:
            while line := file.readline(LONGEST_LINE):
                if line.endswith(b"\n"):
                    yield line, _record(line)
                elif len(line) == LONGEST_LINE:
                    raise StorageError(f"{self.metrics_file}: damaged (a line of {LONGEST_LINE:,} bytes)")


def _record(line: bytes) -> dict[str, Any] | None:
    """What `append_metrics` wrote; None for any other line."""
    record = files.without_crc(line)
    return files.numbers(record) if record is not None else None


def _drop_torn_line(file: BinaryIO) -> None:
    """Removes the end of a file after its last line break: what a killed process was writing."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if end and file.read() != b"\n":
        start = file.seek(max(0, end - LONGEST_LINE))
        file.truncate(start + file.read().rfind(b"\n") + 1)


def _number(folder: Path) -> int | None:
    with suppress(OSError):
        return os.stat(folder).st_ino
    return None


def _numbered(root: Path, name: str) -> dict[int, Path]:
    """What stands under root as `name` (1) or `name-2`, `name-3`, ..."""
    pattern = re.compile(re.escape(name) + r"(?:-([2-9]|[1-9][0-9]+))?")
    matches = ((pattern.fullmatch(path.name), path) for path in root.glob("*"))
    return {int(match[1] or 1): path for match, path in matches if match}


def _name_in(lock: Path) -> Any:
    """The name of the spec in a lock, None when there is none to read."""
    with suppress(StorageError, ValueError, KeyError, TypeError):
        return tomllib.loads(files.read_file(lock, LONGEST_LINE).decode())["spec"]["name"]
    return None
