"""Every first-party component passes the checks of third-party ones, found through the same entry point."""

from __future__ import annotations

import pytest
from settings import LEFT_OUT, SETTINGS

from resnetbk_authoring.testing import all_components


@all_components("resnetbk", settings=SETTINGS, skipped=LEFT_OUT)
def test_conformance(component, check):
    check.run(component)


@pytest.fixture(autouse=True)
def small_tables(monkeypatch):
    monkeypatch.setattr("resnetbk_plugins.data_selector.ngram.TABLE_BITS", 12)
