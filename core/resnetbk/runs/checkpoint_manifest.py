"""What makes a checkpoint whole: manifest.json, with size and sha256 of every file, and its own."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from resnetbk.errors import StorageError
from resnetbk.files import accessing

SCHEMA = 1
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
MANIFEST = "manifest.json"


def verify(path: Path) -> None:
    """Raises StorageError naming the first file that is missing, damaged or not of this checkpoint."""
    with accessing(path, "read"):
        files = _listed(path)
        for file in sorted({*os.listdir(path)} - {*files, MANIFEST}):
            raise StorageError(f"{path / file}: is not listed in {MANIFEST}")
    for file, expected in sorted(files.items()):
        with accessing(path / file, "read"):
            if not (path / file).exists():
                raise StorageError(f"{path / file}: is missing")
            size = (path / file).stat().st_size
            if size != expected["size"]:
                raise StorageError(f"{path / file}: damaged ({size} bytes instead of {expected['size']})")
            if digest(path / file) != expected:
                raise StorageError(f"{path / file}: damaged (sha256 differs)")


def _listed(path: Path) -> dict[str, Any]:
    """What a sound manifest lists: {file: {sha256, size}}."""
    file = path / MANIFEST
    if not path.is_dir():
        raise StorageError(f"{path}: no such checkpoint")
    if not file.is_file():
        raise StorageError(f"{path}: is not a checkpoint (it has no {MANIFEST})")
    with accessing(file, "read"):
        data = file.read_bytes()
    try:
        manifest = json.loads(data)
        schema, files = manifest["schema"], manifest["files"]
        sound = data == sealed(schema, files)
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise StorageError(f"{file}: damaged (its own sha256 differs)")
    if schema != SCHEMA or set(files) != {MODEL, OPTIMIZER, STATE}:
        raise StorageError(f"{file}: of schema {schema}; this version reads schema {SCHEMA}")
    return dict(files)


def sealed(schema: Any, files: Any) -> bytes:
    """The one form a manifest can have, byte for byte, so that any change to it shows."""
    body = {"schema": schema, "files": files}
    sha256 = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "sha256": sha256}, sort_keys=True, indent=2).encode() + b"\n"


def digest(path: Path, *, sync: bool = False) -> dict[str, Any]:
    with open(path, "rb") as file:
        if sync:
            os.fsync(file.fileno())
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": file.tell()}
