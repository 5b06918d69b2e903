"""Drift between locks, the source that is hashed, and what locks say of what is missing."""

from __future__ import annotations

import copy
import importlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from resnetbk.errors import UserError
from resnetbk.lock.changes import NOTHING, Change, changes
from resnetbk.lock.drift import drift
from resnetbk.lock.lock import facts, is_lock, load_lock, lock, lock_path, read_held, read_lock
from resnetbk.lock.source import source_sha256
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text

SMALL = """
name = "x"
data = { corpus = "tiny" }
model = { width = 8, depth = 2, mixer = { use = "chain", chains = 3 } }
train = { steps = 1, observe = ["made-up/twice", "progress"] }
"""


@pytest.fixture
def tree(registry: Registry) -> dict[str, Any]:
    return facts(read_text(SMALL, registry), registry, corpus_sha256="c" * 64, threads=2)


def lines(locked: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [found.line("lock again") for found in drift(locked, now)]


def test_nothing_has_drifted_from_itself(tree: dict[str, Any]) -> None:
    assert drift(tree, copy.deepcopy(tree)) == []
    assert drift(tomllib.loads(lock_text(tree)), tree) == []


def test_every_difference_is_a_line_with_its_remedy(tree: dict[str, Any]) -> None:
    now = copy.deepcopy(tree)
    now["spec"]["model"]["width"] = 9
    now["components"]["model.mixer"]["version"] = "2.0"
    now["components"]["model.mixer"]["sha256"] = "a" * 64
    now["components"]["model.gate"]["version"] = "1.1"
    now["components"]["model.halting"]["sha256"] = "b" * 64
    now["environment"] |= {"python": "3.99.1", "torch": "9.9", "threads": 4, "platform": "moon"}
    now["environment"]["corpus_sha256"] = "d" * 64
    sources = {key: tree["components"][key]["sha256"][:12] for key in ("model.mixer", "model.halting")}
    here = tree["environment"]
    python = ".".join(here["python"].split(".")[:2])
    assert lines(tree, now) == [
        "model.width: locked 8, now 9; take the change back, or lock again",
        f"model.mixer: locked made-up 1.0, source {sources['model.mixer']}, now made-up 2.0, "
        f"source {'a' * 12}; install chain of plugin made-up 1.0, or lock again",
        f"model.halting: locked made-up 1.0, source {sources['model.halting']}, now made-up 1.0, "
        f"source {'b' * 12}; restore never of plugin made-up 1.0, or lock again",
        "model.gate: locked made-up 1.0, now made-up 1.1; install plugin made-up 1.0, or lock again",
        f"python: locked {python}, now 3.99; run it with Python {python}, or lock again",
        f"torch: locked {here['torch']}, now 9.9; install torch=={here['torch']}, or lock again",
        "threads: locked 2, now 4; set OMP_NUM_THREADS=2, or lock again",
        f"platform: locked {here['platform']}, now moon; run it there, or lock again",
        f"corpus_sha256: locked {'c' * 12}, now {'d' * 12}; restore the text, or lock again",
    ]
    assert [found.about for found in drift(tree, now)][:4] == ["spec", "source", "source", "component"]


def test_python_may_differ_in_its_last_number(tree: dict[str, Any]) -> None:
    now = copy.deepcopy(tree)
    now["environment"]["python"] = tree["environment"]["python"].rpartition(".")[0] + ".999"
    assert drift(tree, now) == []


def test_another_component_is_a_difference_of_the_spec_alone(
    tree: dict[str, Any], registry: Registry
) -> None:
    other = facts(
        read_text(SMALL.replace('{ use = "chain", chains = 3 }', '"plain"'), registry),
        registry,
        corpus_sha256="c" * 64,
        threads=2,
    )
    found = drift(tree, other)
    assert {d.about for d in found} == {"spec"}
    assert "model.mixer.use" in [d.key for d in found]


def test_what_a_lock_does_not_say_has_drifted(tree: dict[str, Any]) -> None:
    bare = {**tree, "components": {}, "environment": {}}
    found = drift(bare, tree)
    assert {d.key for d in found} == {*tree["components"], *tree["environment"]}
    assert next(line for line in lines(bare, tree) if line.startswith("threads")) == (
        "threads: locked nothing, now 2; lock again"
    )


def test_changes_say_what_is_not_there() -> None:
    assert changes({"a": {"b": 1}, "c": 2}, {"a": {"b": 1, "d": 3}}) == [
        Change("c", 2, NOTHING),
        Change("a.d", NOTHING, 3),
    ]


# ---------------------------------------------------------------- sources

FILES = {
    "__init__": "",
    "part": "import attrs\nfrom . import near\n@attrs.frozen\nclass Part:\n"
    "    def build(self):\n        from hashed.weights import M\n",
    "weights": "import hashed.deep.scan\nM = 1\n",
    "near": "import torch.nn\n",
    "deep/__init__": "",
    "deep/scan": "import importlib\nfrom ..above import x\nfrom . import beside\n"
    "def scan():\n    from .within import y\n    importlib.import_module('.kernel', __package__)\n",
    "deep/beside": "",
    "deep/within": "y = 1\n",
    "deep/kernel": "k = 1\n",
    "above": "x = 1\n",
    "part_module": "",
    "deep/aside": "",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "hashed" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "hashed"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "hashed"


@pytest.mark.parametrize("name", FILES)
def test_a_source_is_all_of_its_package_that_it_imports(package: Path, name: str) -> None:
    part = importlib.import_module("hashed.part").Part
    before = source_sha256(part)
    file = package / f"{name}.py"
    file.write_text(file.read_text() + "# changed\n")
    assert (source_sha256(part) != before) == (name not in ("part_module", "deep/aside"))
    assert len(str(before)) == 64


def test_a_file_that_is_no_python_is_hashed_all_the_same(package: Path) -> None:
    part = importlib.import_module("hashed.part").Part
    (package / "near.py").write_text("not python (\n")
    assert source_sha256(part)


def test_a_class_without_a_file_has_no_source() -> None:
    assert source_sha256(int) is None
    assert source_sha256(type("Made", (), {"__module__": "nowhere"})) is None


def test_a_module_outside_of_any_package_has_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alone_here.py").write_text("import beside_here, json\nclass Alone: ...\n")
    (tmp_path / "beside_here.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    alone = importlib.import_module("alone_here").Alone
    before = source_sha256(alone)
    (tmp_path / "beside_here.py").write_text("x = 1\n")
    assert source_sha256(alone) != before


# ---------------------------------------------------------------- locks and what is missing


def test_where_a_lock_stands() -> None:
    assert lock_path("a/b.toml") == Path("a/b.lock.toml")
    assert lock_path("b") == Path("b.lock.toml")


def test_a_lock_can_be_looked_at_without_its_components(tmp_path: Path, tree: dict[str, Any]) -> None:
    file = tmp_path / "x.lock.toml"
    file.write_text(lock_text(tree).replace("made-up", "gone"))
    found = load_lock(file)
    assert is_lock(found)
    assert found["components"]["model.mixer"]["plugin"] == "gone"
    assert not is_lock({"name": "x", "model": {}})


def lock_text(tree: dict[str, Any]) -> str:
    from resnetbk import toml_write

    return toml_write.dumps(tree, headers=2)


def test_a_missing_component_is_said_with_what_brought_it(
    tmp_path: Path, registry: Registry, tree: dict[str, Any]
) -> None:
    file = tmp_path / "x.lock.toml"
    tree["spec"]["model"]["mixer"] = {"use": "vanished"}
    tree["components"]["model.gate"] = {"plugin": "gone", "version": "3.1", "package": "gone-nlp"}
    tree["spec"]["model"]["width"] = 0
    file.write_text(lock_text(tree))
    with pytest.raises(UserError) as caught:
        read_lock(file, registry)
    mixer, gate, width = sorted(
        (str(m) for m in caught.value.mistakes), key=lambda m: ["mixer", "gate", "width"].index(word(m))
    )
    assert mixer.endswith("; the lock has it from plugin made-up 1.0 (here it is 1.0): install that")
    assert gate.endswith("; the lock has it from plugin gone 3.1 of the package gone-nlp: install that")
    assert width.endswith("model.width: must be at least 1, is 0")


def word(mistake: str) -> str:
    return next(word for word in ("mixer", "gate", "width") if f"model.{word}" in mistake)


def test_a_spec_held_to_a_lock_says_what_brought_what_it_misses(tmp_path: Path, registry: Registry) -> None:
    spec, file = tmp_path / "x.toml", tmp_path / "x.lock.toml"
    spec.write_text(SMALL)
    with pytest.raises(UserError, match=r"x\.lock\.toml: no such lock; make it: resnetbk lock "):
        read_held(spec, file, registry)
    file.write_text(lock(read_text(SMALL, registry), registry).replace('use = "chain"', 'use = "vanished"'))
    assert read_held(spec, file, registry).model.width == 8
    spec.write_text(SMALL.replace('"chain"', '"vanished"'))
    with pytest.raises(UserError, match=r"vanished.*the lock has it from plugin made-up 1\.0"):
        read_held(spec, file, registry)
