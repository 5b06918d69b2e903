"""The folder of a run: what stands where, written so that a crash at any moment leaves it whole.

A run is `spec.lock.toml`, `metrics.jsonl`, `checkpoints/step-000600/`, `LATEST` and `report.html`; nothing
outside its folder is needed to read it.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from resnetbk.errors import StorageError, UserError, nearest
from resnetbk.files import accessing, locked, numbers, replace_file, spelled

CHECKPOINTS, LATEST = "checkpoints", "LATEST"
SPEC_LOCK = "spec.lock.toml"
LOCK, WRITER = ".lock", ".writer"


@attrs.frozen
class RunFolder:
    """One run. Any number of processes may read it; the one that trains is in `writing()` while it does."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A folder for a new run. Raises UserError when something is in it already."""
        with accessing(path):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise UserError(f"{path}: is, or lies under, a file; choose another --out") from None
            if any(entry.name not in (LOCK, WRITER) for entry in path.iterdir()):
                raise UserError(f"{path}: is not empty; go on with --resume, or choose another --out")
        return cls(path)

    @classmethod
    def fresh(cls, root: Path, name: str) -> RunFolder:
        """A folder that nothing else has: root/name, then root/name-2, root/name-3, ..."""
        if name in ("", ".", "..") or Path(name).name != name:
            raise UserError(f"{name!r}: cannot be the name of a run; it must be the name of one folder")
        with accessing(root):
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
        with accessing(path, "read"):
            if (path / SPEC_LOCK).is_file():
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
        return self.path / "metrics.jsonl"

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
            with accessing(self.path):
                try:
                    stack.enter_context(locked(self.path / LOCK, wait=False))
                except BlockingIOError:
                    raise UserError(
                        f"{self.path}: another process ({self._writer()}) is training here"
                    ) from None
                self.writer_file.write_text(f"{os.getpid()}\n")
            yield

    def _writer(self) -> str:
        """Who holds the lock, by the number of the process."""
        with suppress(OSError):
            return self.writer_file.read_text(errors="replace").strip()[:20] or "unknown"
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

    def write_lock(self, text: str) -> None:
        """Writes spec.lock.toml, whole or not at all."""
        replace_file(self.spec_lock, text.encode())

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds one line. What is not finite is written as a string and read back as a number."""
        line = json.dumps(spelled(record), allow_nan=False).encode() + b"\n"
        with accessing(self.metrics_file), open(self.metrics_file, "ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            if end and file.read() != b"\n":  # the line that a killed process was writing
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
            file.write(line)

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines, in order. A last line without its end was cut off by a crash and is left out."""
        return [record for _, record in self._lines()]

    def rewind(self, step: int) -> None:
        """Drops the lines of steps beyond `step`; lines without a step stay."""
        lines = b"".join(line + b"\n" for line, record in self._lines() if record.get("step", step) <= step)
        if lines != self._read():
            replace_file(self.metrics_file, lines)

    def _read(self) -> bytes:
        with accessing(self.metrics_file, "read"):
            return self.metrics_file.read_bytes() if self.metrics_file.exists() else b""

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        *lines, _ = self._read().split(b"\n")  # after the last newline: nothing, or what was cut off
        for number, line in enumerate(lines, 1):
            try:
                record = numbers(json.loads(line))
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict) or not isinstance(record.get("step", 0), int):
                raise StorageError(f"{self.metrics_file}:{number}: damaged (no JSON object of a step)")
            yield line, record


def _numbered(root: Path, name: str) -> dict[int, Path]:
    """What stands under root as `name` (1) or `name-2`, `name-3`, ..."""
    pattern = re.compile(re.escape(name) + r"(?:-([2-9]|[1-9][0-9]+))?")
    matches = ((pattern.fullmatch(path.name), path) for path in root.glob("*"))
    return {int(match[1] or 1): path for match, path in matches if match}


def _name_in(lock: Path) -> Any:
    """The name of the spec in a lock, None when there is none to read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return tomllib.loads(lock.read_text())["spec"]["name"]
    return None
