"""What makes a checkpoint whole: manifest.json, with the size and sha256 of every file, the run and the step
that it is of, and its own sha256."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from resnetbk.errors import StorageError, shortened
from resnetbk.files import accessing, opened, read_file, sha256_of
from resnetbk.runs.run_folder import SPEC_LOCK

SCHEMA = 2
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
FILES = (MODEL, OPTIMIZER, STATE)
MANIFEST = "manifest.json"
LONGEST_MANIFEST = 1 << 16


def verify(path: Path, largest: Callable[[Any], Mapping[str, int]] | None = None) -> None:
    """Raises StorageError naming the first file that is missing, damaged or not of this checkpoint; or for a
    checkpoint that is of another run or step than where it stands.

    `largest`  from what is in state.json, how many bytes files can have at most, known before they are read
    """
    files = listed(path)
    with accessing(path, "read"):
        for file in sorted({*os.listdir(path)} - {*files, MANIFEST}):
            raise StorageError(f"{path / file}: is not listed in {MANIFEST}")
        for file, expected in sorted(files.items()):
            if not (path / file).exists():
                raise StorageError(f"{path / file}: is missing")
            size = (path / file).stat().st_size
            if size != expected["size"]:
                raise StorageError(f"{path / file}: damaged ({size} bytes instead of {expected['size']})")
    limits: Mapping[str, int] = {}
    for file, expected in sorted(files.items(), key=lambda item: item[0] != STATE):
        if expected["size"] > limits.get(file, expected["size"]):
            most = f"{expected['size']:,} bytes, where at most {limits[file]:,} can be"
            raise StorageError(f"{path / file}: is not of this run's spec ({most})")
        if file != STATE:
            _check_header(path / file)  # before a giant full of nothing is read
        if digest(path / file) != expected:
            raise StorageError(f"{path / file}: damaged (sha256 differs)")
        if file == STATE and largest:
            limits = largest(json.loads(read_file(path / STATE))["state"])


def _check_header(file: Path) -> None:
    """Raises StorageError unless the tensors that a file begins by listing are as long as the file."""
    with accessing(file, "read"), opened(file):
        try:
            with safe_open(file, framework="np"):
                pass
        except SafetensorError as error:
            raise StorageError(f"{file}: damaged ({shortened(str(error))})") from None


def listed(path: Path) -> dict[str, Any]:
    """What a sound manifest of this step of this run lists: {file: {sha256, size}}. Raises StorageError."""
    file = path / MANIFEST
    if not path.is_dir():
        raise StorageError(f"{path}: no such checkpoint")
    if not file.exists():
        raise StorageError(f"{path}: is not a checkpoint (it has no {MANIFEST})")
    data = read_file(file, LONGEST_MANIFEST)
    try:
        manifest = json.loads(data)
        schema, run, step, files = (manifest[key] for key in ("schema", "run", "step", "files"))
        sound = data == sealed(schema, run, step, files)
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise StorageError(f"{file}: damaged (its own sha256 differs)")
    if schema != SCHEMA or set(files) != set(FILES):
        raise StorageError(f"{file}: of schema {schema}; this version reads schema {SCHEMA}")
    if step != step_of(path):
        raise StorageError(f"{path}: is of step {step}, and was put here under another name")
    if run != identity(path.parent.parent):
        raise StorageError(
            f"{path}: is not of the run of {path.parent.parent / SPEC_LOCK}: one was damaged or changed"
        )
    return dict(files)


def step_of(path: Path) -> int | None:
    """600 for `step-000600` and `step-000600.old`; None for what is not named as a checkpoint."""
    match = re.fullmatch(r"step-([0-9]{6}|[1-9][0-9]{6,18})(\.old)?", path.name)
    return int(match[1]) if match else None


def identity(run: Path) -> str:
    """What tells a run's checkpoints from those of all others: sha256 of its spec.lock.toml, in which the
    run has a number of its own; "" without one."""
    file = run / SPEC_LOCK
    return hashlib.sha256(read_file(file)).hexdigest() if file.exists() else ""


def sealed(schema: Any, run: Any, step: Any, files: Any) -> bytes:
    """The one form a manifest can have, byte for byte, so that any change to it shows."""
    body = {"schema": schema, "run": run, "step": step, "files": files}
    sha256 = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "sha256": sha256}, sort_keys=True, indent=2).encode() + b"\n"


def digest(path: Path, *, sync: bool = False) -> dict[str, Any]:
    if sync:
        with open(path, "rb") as written:
            os.fsync(written.fileno())
    with accessing(path, "read"):
        return {"sha256": sha256_of(path), "size": path.stat().st_size}
