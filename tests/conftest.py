"""What every test may use: the fixture that installs a plugin for the length of a test."""

import os

import pytest

from resnetbk.testing.fixtures import fake_plugin

__all__ = ["fake_plugin"]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tests neither read nor fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNETBK_CACHE", os.fspath(tmp_path_factory.mktemp("cache")))
        yield
