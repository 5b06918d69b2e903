"""What may stand where a file should be, in folders from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

GIANT = 1 << 40

PUT: dict[str, Callable[[Path, Path], object]] = {
    "a pipe": lambda path, _: os.mkfifo(path),
    "a link to a device": lambda path, _: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path, victim: path.symlink_to(victim.with_name("nothing")),
    "a folder": lambda path, _: path.mkdir(),
    "a giant": lambda path, _: (path.touch(), os.truncate(path, GIANT)),
    "foreign JSON": lambda path, _: path.write_text('{"schema": 2, "files": [1], "step": {}}\n'),
    "nothing": lambda path, _: None,
}
"""Each by its name: puts it at a path; the other path is a file outside that must not be touched."""
