"""`new` writes packages whose components pass what they promise."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import sys

import pytest

from resnetbk.kinds import KINDS
from resnetbk.registry.lookup import Registry
from resnetbk_authoring.template.package import write
from resnetbk_authoring.testing.suite import applicable, subject_of


@pytest.fixture
def made(call, tmp_path, monkeypatch):
    """Writes a package and gives its manifest's registry, and forgets its modules afterwards."""

    monkeypatch.setattr(sys, "path", list(sys.path))
    packages = set()

    def new(kind, name="my-own"):
        folder = tmp_path / kind
        code, out, err = call("new", name, "--kind", kind, "--out", folder)
        assert (code, err) == (0, "")
        assert "pip install -e" in out
        package = name.replace("-", "_")
        packages.add(package)
        return folder, Registry.discover([folder / package / "registry.toml"])

    yield new
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", [*KINDS, "verb"])
def test_the_component_of_every_kind_passes_as_written(made, kind):
    folder, registry = made(kind)
    subject = subject_of(registry, registry.find(kind, "my-own"))
    done = {check.name for check in applicable(subject) if check.run(subject) is None}
    assert done >= ({"documented"} if kind == "verb" else {"documented", "frozen", "spec-round-trip"})
    written = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    files = {path.relative_to(folder).as_posix() for path in written}
    assert files >= {
        "README.md", "pyproject.toml", "setup.cfg", "tox.ini",
        "my_own/__init__.py", "my_own/component.py", "my_own/registry.toml", "tests/test_my_own.py",
    }  # fmt: skip
    assert not [path for path in files if re.search(r"@\w+@", (folder / path).read_text())]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("data-selector", "windows"),
        ("sparsity-gate", "keep"),
        ("resolution-scheduler", "stack"),
        ("halting-policy", "finished"),
        ("channel-mixer", "f"),
        ("sequence-mixer", "true"),
    ],
)
def test_so_does_one_with_the_name_of_what_its_code_uses(made, kind, name):
    _, registry = made(kind, name)
    subject = subject_of(registry, registry.find(kind, name))
    for check in applicable(subject):
        check.run(subject)


@pytest.mark.parametrize("kind", KINDS)
def test_no_class_takes_a_name_that_is_in_use(tmp_path, kind):
    """Tried with every name that would give a class one of the capitalised words of the code."""
    write(tmp_path / "a-plain-one", "a-plain-one", kind)
    code = (tmp_path / "a-plain-one" / "a_plain_one" / "component.py").read_text()
    words = {"True", "False", "None", *re.findall(r"\b(?:[A-Z][a-z]*)+\b", code.replace("APlainOne", ""))}
    for word in words:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", word).lower()
        package = name.replace("-", "_")
        write(tmp_path / name, name, kind)
        tree = ast.parse((tmp_path / name / package / "component.py").read_text())
        classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        used = {*dir(builtins), *keyword.kwlist}
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                used |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Assign):
                used |= {target.id for target in node.targets}
        assert not used & set(classes), name
        use = f'use = "{package}.component:{classes[0]}"'
        assert use in (tmp_path / name / package / "registry.toml").read_text()


def test_what_cannot_be_is_refused_at_once(call, tmp_path):
    code, _, err = call("new", "Torch", "--kind", "sequence-mixr", "--out", tmp_path)
    assert code == 2
    assert err.splitlines() == [
        "'Torch' is no name; write a letter, then a-z and 0-9, with '-' between words",
        "no kind 'sequence-mixr'; did you mean 'sequence-mixer'?",
        f"{tmp_path} is there already; choose another --out",
    ]
    code, _, err = call("new", "attention", "--kind", "sequence-mixer", "--out", tmp_path / "x")
    assert (code, err) == (2, "there is a sequence-mixer 'attention' already; choose another name\n")
    code, _, err = call("new", "torch", "--kind", "corpus", "--out", tmp_path / "x")
    assert (code, err) == (2, "there is a package 'torch' already; choose another name\n")
    code, _, err = call("new", "lambda", "--kind", "optimizer", "--out", tmp_path / "x")
    assert (code, err) == (2, "'lambda' is a word of Python; choose another name\n")
    assert not (tmp_path / "x").exists()
