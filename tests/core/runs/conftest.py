"""A run's folder for tests of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import example

from resnetbk.runs.checkpoint import save


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with checkpoints at steps 200, 400 and 600."""
    for step in (200, 400, 600):
        save(tmp_path / "checkpoints", step, example(step))
    return tmp_path
