"""What the tests of comparing verbs share."""

from __future__ import annotations

import pytest
import tiny

from resnetbk_instrument.session import calibration


@pytest.fixture(autouse=True)
def _short_calibrations(monkeypatch):
    """At the machine's speed, which no test here is about."""
    monkeypatch.setattr(calibration, "REPEATS", 2)
    monkeypatch.setattr(calibration, "_NUMBERS", {"cpu": 1000})


@pytest.fixture
def specs(tmp_path):
    return tiny.embeddings(tmp_path)
