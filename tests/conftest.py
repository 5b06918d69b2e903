"""What every test may use: a plugin installed for the length of a test, and the command line."""

import os

import pytest

from resnetbk_authoring.testing.fixtures import fake_plugin

__all__ = ["fake_plugin"]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tests neither read nor fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNETBK_CACHE", os.fspath(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def call(capfd):
    """Runs the command line; gives exit code, standard output and standard error."""
    from resnetbk.cli import _run

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = _run([str(argument) for argument in arguments])
        out = capfd.readouterr()
        return code, out.out, out.err

    return run
