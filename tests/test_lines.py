"""The project stays small enough to be read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_part_outgrows_what_somebody_can_read() -> None:
    place = importlib.util.spec_from_file_location("count_lines", ROOT / "docs" / "count_lines.py")
    assert place
    assert place.loader
    count_lines = importlib.util.module_from_spec(place)
    place.loader.exec_module(count_lines)
    parts = count_lines.parts()
    assert count_lines.lines(parts["core"]) <= 9700
    assert sum(count_lines.lines(parts[name]) for name in count_lines.HEART) <= 3100
    names = [name for name in parts if name.startswith("plugins/")]
    assert len(names) == 3
    for name in ("core", *names, "tests"):
        assert parts[name]
        long = [path.name for path in parts[name] if count_lines.lines([path]) > 300]
        assert long == (["kinds.py"] if name == "core" else [])
