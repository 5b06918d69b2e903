"""Every first-party component passes the checks of third-party ones, found through the same entry point."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnetbk.testing import all_components

HERE = Path(__file__)
RUN = "starts from a run on disk: tests/plugins/initializer"

SETTINGS = {
    "hourglass": {"layers": [1, 2, 1], "factor": 3},
    "boundary": {"layers": [1, 2, 1]},
    "fixed": {"layers": 3},
    "halting-policy/random": {"layers": 2.5},
    "text": {"path": str(HERE)},
    "confidence": {"agree": 0.6},
    "act": {"bias": -1.5},
    "every-k": {"slow": ["trunk.layers.0"]},
    "moe": {"experts": 2},
    "cached": {"similarity": -1.0, "cosine": -1.0},
}


@all_components(
    "resnetbk",
    settings=SETTINGS,
    skipped={
        "run": RUN,
        "initializer/grow": RUN,
        "hf": "needs files, or a download: tests/plugins/corpus",
        "shakespeare": "needs an extra: tests/plugins/corpus",
        "bpe": "needs an extra: tests/plugins/tokenizer",
    },
)
def test_conformance(component, check):
    check.run(component)


@pytest.fixture(autouse=True)
def small_tables(monkeypatch):
    monkeypatch.setattr("resnetbk_plugins.data_selector.ngram.TABLE_BITS", 12)
