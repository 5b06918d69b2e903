"""Files that are expensive to write and can be written again: in one folder, named by all they depend on.

Each may be deleted while no run is using it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from resnetbk.errors import StorageError
from resnetbk.files import replacing


def cache_folder() -> Path:
    """RESNETBK_CACHE, else resnetbk under XDG_CACHE_HOME or ~/.cache; RuntimeError without a home folder."""
    if own := os.environ.get("RESNETBK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "resnetbk"


def cached_file(name: str, write: Callable[[BinaryIO], object]) -> Path:
    """The file `name` in the cache: written by `write` unless it is there, and then whole or not at all.

    Raises StorageError, and what `write` raises.
    """
    try:
        path = cache_folder() / name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            # a name of its own, since another process may be writing the same file
            with replacing(path, path.with_name(f".new-{os.urandom(8).hex()}")) as file:
                write(file)
        return path
    except (OSError, RuntimeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot write {name} to the cache ({cause}); RESNETBK_CACHE names its folder"
        ) from error
