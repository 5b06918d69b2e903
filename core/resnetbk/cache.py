"""Files that are expensive to make and can be made again: in one folder, named by all that they depend on.

Each may be deleted while no run is using it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from resnetbk.errors import StorageError


def cache_folder() -> Path:
    """RESNETBK_CACHE, else resnetbk under XDG_CACHE_HOME or ~/.cache; RuntimeError without a home folder."""
    if own := os.environ.get("RESNETBK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "resnetbk"


def kept(name: str, write: Callable[[BinaryIO], object]) -> Path:
    """The file `name` in the cache: made by `write` unless it is there, and then whole or not at all.

    Raises StorageError, and what `write` raises.
    """
    try:
        path = cache_folder() / name
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except (OSError, RuntimeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot keep {name} in the cache ({cause}); RESNETBK_CACHE names its folder"
        ) from error
    return path
