"""Specs written out and read back."""

from __future__ import annotations

import enum
import hashlib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.lock.changes import differences
from resnetbk.lock.lock import dump, facts, lock, read_lock, resolved
from resnetbk.registry import Registry
from resnetbk.spec import Spec, read_text

SMALL = """
name = "x"
data = { corpus = "tiny" }
model = { width = 8, depth = 2, mixer = { use = "chain", chains = 3 } }
train = { steps = 1, observe = ["made-up/twice", "other/twice", "progress"] }
"""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
numbers = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
styles = st.fixed_dictionaries(
    {"size": integers}, optional={"colour": st.sampled_from(["red", "blue"]), "rate": numbers}
)
rich = st.fixed_dictionaries(
    {"use": st.just("rich")},
    optional={
        "style": styles,
        "styles": st.lists(styles, max_size=2),
        "layers": st.lists(integers, max_size=3),
        "pair": st.tuples(integers, texts).map(list),
        "words": st.lists(texts, max_size=3),
        "table": st.dictionaries(texts, numbers, max_size=3),
        "level": st.sampled_from([1, 2, "top"]),
        "either": integers | texts,
        "several": texts | st.lists(texts, max_size=2),
        "file": st.sampled_from(["a", "a/b", "."]),
        "on": st.booleans(),
        "anything": st.recursive(
            integers | numbers | texts, lambda x: st.lists(x) | st.dictionaries(texts, x)
        ),
    },
)
chain = st.fixed_dictionaries(
    {"use": st.just("chain")}, optional={"chains": st.integers(1, 9), "high": st.floats(1, 2)}
)
observers = rich | st.just({"use": "lines", "lr": 0.5}) | st.sampled_from(["progress", "other/twice"])
trees = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        "seed": st.integers(0, 2**63 - 1),
        "data": st.just({"corpus": "tiny"}),
        "model": st.fixed_dictionaries(
            {"width": st.integers(1, 99), "depth": st.integers(1, 9), "mixer": rich | chain},
            optional={"norm": st.sampled_from(["rms", "layer"]), "tie": st.booleans()},
        ),
        "train": st.fixed_dictionaries(
            {"steps": st.integers(1, 99), "observe": st.lists(observers, max_size=3)},
            optional={
                "seconds": st.floats(1e-9, 1e9),
                "clip": st.floats(0, 9),
                "evaluate": st.integers(1, 9),
            },
        ),
    }
)


@settings(deadline=None)
@given(trees)
def test_a_spec_reads_back_equal(registry: Registry, tree: dict[str, Any]) -> None:
    from resnetbk.toml_write import dumps

    spec = read_text(dumps(tree), registry)
    again = read_text(dump(spec, registry), registry)
    assert again == spec
    assert dump(again, registry) == dump(spec, registry)
    assert differences(resolved(spec), resolved(again)) == []


def test_every_default_is_written_out(registry: Registry) -> None:
    spec = read_text(SMALL, registry)
    assert resolved(spec)["model"] == {
        "width": 8,
        "depth": 2,
        "mixer": {"use": "chain", "chains": 3, "spread": 2.2, "low": 0.5, "high": 1.7},
        "channel": {"use": "dense"},
        "embedding": {"use": "table"},
        "halting": {"use": "never"},
        "resolution": {"use": "flat"},
        "gate": {"use": "open"},
        "wiring": "sequential",
        "norm": "rms",
        "tie": False,
        "share": "none",
        "recompute": False,
    }
    assert "seconds" not in resolved(spec)["train"]
    assert all(type(key) is str for key in leaves(resolved(spec)))


def leaves(tree: Any) -> list[Any]:
    """All keys of a tree; fails on what is no type of TOML."""
    if isinstance(tree, dict):
        return [*tree, *(key for value in tree.values() for key in leaves(value))]
    if isinstance(tree, list):
        return [key for value in tree for key in leaves(value)]
    assert isinstance(tree, (str, int, float, bool))
    assert not isinstance(tree, enum.Enum)
    return []


def test_none_in_place_of_another_default_is_not_written_as_the_default(registry: Registry) -> None:
    @attrs.frozen
    class Limited:
        limit: int | None = 3

    spec = read_text(SMALL, registry)
    mixer = attrs.evolve(spec.model.mixer, component=Limited(limit=None))
    with pytest.raises(TypeError, match="NoneType"):
        dump(attrs.evolve(spec, model=attrs.evolve(spec.model, mixer=mixer)))


# ---------------------------------------------------------------- locks


def test_a_lock_says_what_was_used(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    spec = read_text(SMALL, registry)
    found = tomllib.loads(lock(spec, registry, corpus_sha256="abc"))
    assert list(found) == ["schema", "spec", "components", "environment"]
    assert found["schema"] == 1
    assert set(found["components"]) == {
        *(kind.key for kind in KINDS.values() if kind.name != "observer"),
        *(f"train.observe[{i}]" for i in range(3)),
    }
    mixer = found["components"]["model.mixer"]
    assert (mixer["plugin"], mixer["version"], len(mixer["sha256"])) == ("made-up", "1.0", 64)
    assert found["components"]["train.observe[1]"]["plugin"] == "other"
    assert found["environment"].keys() >= {"python", "torch", "threads", "platform", "corpus_sha256"}
    assert found["environment"]["threads"] == 3
    assert tomllib.loads(lock(spec, registry, threads=2))["environment"]["threads"] == 2
    assert "corpus_sha256" not in tomllib.loads(lock(spec, registry))["environment"]


def test_a_lock_names_the_package_where_it_is_called_otherwise(registry: Registry) -> None:
    plugins = tuple(attrs.evolve(plugin, package="made-up-nlp") for plugin in registry.plugins)
    found = facts(read_text(SMALL, registry), attrs.evolve(registry, plugins=plugins))
    assert found["components"]["model.mixer"]["package"] == "made-up-nlp"
    assert "package" not in facts(read_text(SMALL, registry), registry)["components"]["model.mixer"]


def test_a_source_is_hashed_with_its_torch_module(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hashed_here.py").write_text(
        "import attrs\n@attrs.frozen\nclass Here:\n    def build(self):\n        import heavy_half\n"
    )
    component = importlib.import_module("hashed_here").Here()
    spec = read_text(SMALL, registry)
    mixer = attrs.evolve(spec.model.mixer, component=component)
    spec = attrs.evolve(spec, model=attrs.evolve(spec.model, mixer=mixer))

    def sha256() -> str:
        return str(tomllib.loads(lock(spec, registry))["components"]["model.mixer"]["sha256"])

    alone = sha256()
    assert alone == hashlib.sha256((tmp_path / "hashed_here.py").read_bytes()).hexdigest()
    (tmp_path / "heavy_half.py").write_text("x = 1\n")
    assert sha256() != alone


def test_a_lock_reads_back_to_the_spec(tmp_path: Path, registry: Registry) -> None:
    spec = read_text(SMALL, registry)
    file = tmp_path / "spec.lock.toml"
    file.write_text(lock(spec, registry))
    assert read_lock(file, registry) == spec
    wider = read_lock(file, registry, ["model.width=9"])
    assert differences(resolved(spec), resolved(wider)) == ["model.width: 8 -> 9"]


def test_a_lock_holds_to_its_plugin_when_another_has_the_name(tmp_path: Path, registry: Registry) -> None:
    spec = read_text(SMALL, registry)
    file = tmp_path / "spec.lock.toml"
    text = lock(spec, registry).replace("other/twice", "twice").replace("made-up/twice", "twice")
    file.write_text(text)
    assert read_lock(file, registry) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace("width = 8", "width = 0"),
            ":{width}: model.width: must be at least 1, is 0",
        ),
        (lambda text: text.replace("schema = 1", "schema = 2"), ":1: no lock of a spec"),
        (lambda text: "schema = 1\n", ":1: no lock of a spec"),
        (lambda text: "schema = 1\nspec = 3\ncomponents = 4", ":1: no lock of a spec"),
        (lambda text: text.replace("[components.", "[parts."), ""),
        (lambda text: text.replace('"made-up"', '"gone"'), ":{corpus}: data.corpus: no corpus 'gone/tiny'"),
        (lambda text: text[:200], "not valid TOML"),
    ],
)
def test_a_lock_that_was_edited(
    change: Callable[[str], str], message: str, tmp_path: Path, registry: Registry
) -> None:
    text = lock(read_text(SMALL, registry), registry)
    lines = {line.partition(" ")[0]: i for i, line in enumerate(text.splitlines(), 1)}
    file = tmp_path / "spec.lock.toml"
    file.write_text(change(text))
    if not message:
        assert isinstance(read_lock(file, registry), Spec)
        return
    with pytest.raises(UserError) as caught:
        read_lock(file, registry)
    assert str(caught.value).startswith(str(file))
    assert message.format(**lines) in str(caught.value)


# ---------------------------------------------------------------- differences


def test_differences_are_one_line_a_key() -> None:
    before = {"a": {"b": 128, "c": "x", "same": [1]}, "gone": 1.0, "list": [1, 2]}
    after = {"a": {"b": 256, "c": {"d": True}, "same": [1]}, "list": [{"use": "y"}]}
    assert differences(before, after) == [
        "a.b: 128 -> 256",
        'a.c: "x" -> nothing',
        "gone: 1.0 -> nothing",
        "list: [1, 2] -> nothing",
        "a.c.d: nothing -> true",
        'list[0].use: nothing -> "y"',
    ]
