"""`new` writes packages whose components pass what they promise."""

from __future__ import annotations

import re
import sys

import pytest

from resnetbk.kinds import KINDS
from resnetbk.registry.lookup import Registry
from resnetbk.testing.subject import Subject
from resnetbk.testing.suite import applicable


@pytest.fixture
def made(call, tmp_path, monkeypatch):
    """Writes a package and gives its manifest's registry, and forgets its modules afterwards."""

    monkeypatch.setattr(sys, "path", list(sys.path))

    def new(kind):
        folder = tmp_path / kind
        code, out, err = call("new", "my-own", "--kind", kind, "--out", folder)
        assert (code, err) == (0, "")
        assert "pip install -e" in out
        return folder, Registry.discover([folder / "my_own" / "registry.toml"])

    yield new
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_own"]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", KINDS)
def test_the_component_of_every_kind_passes_as_written(made, kind):
    folder, registry = made(kind)
    subject = Subject.of(registry, registry.find(kind, "my-own"))
    done = [check.name for check in applicable(subject) if check.run(subject) is None]
    assert {"described", "frozen", "written-and-read"} < set(done)
    written = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    files = {path.relative_to(folder).as_posix() for path in written}
    assert files >= {
        "README.md", "pyproject.toml", "setup.cfg", "tox.ini",
        "my_own/__init__.py", "my_own/component.py", "my_own/registry.toml", "tests/test_my_own.py",
    }  # fmt: skip
    assert not [path for path in files if re.search(r"@\w+@", (folder / path).read_text())]


def test_what_cannot_be_is_refused_at_once(call, tmp_path):
    code, _, err = call("new", "Torch", "--kind", "sequence-mixr", "--out", tmp_path)
    assert code == 2
    assert err.splitlines() == [
        "'Torch' is no name; write a letter, then a-z and 0-9, with '-' between words",
        "no kind 'sequence-mixr'; did you mean 'sequence-mixer'?",
        f"{tmp_path} is there already",
    ]
    code, _, err = call("new", "attention", "--kind", "sequence-mixer", "--out", tmp_path / "x")
    assert (code, err) == (2, "there is a sequence-mixer 'attention' already; choose another name\n")
    code, _, err = call("new", "torch", "--kind", "corpus", "--out", tmp_path / "x")
    assert (code, err) == (2, "there is a package 'torch' already; choose another name\n")
    assert not (tmp_path / "x").exists()
