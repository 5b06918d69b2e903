"""What a spec file means: short forms, defaults, `extends` and `--set`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NewType

import attrs
import pytest

from resnetbk.errors import UserError
from resnetbk.registry import Registry
from resnetbk.spec import Spec, read, read_text
from resnetbk.spec.problem import Refused
from resnetbk.spec.reader import Reader

GOOD = """
name = "x"
[data]
corpus = "tiny"
[model]
width = 8
depth = 2
mixer = { use = "chain", chains = 3 }
[train]
steps = 1
optimizer = { use = "descent", lr = 1 }
observe = ["progress", { use = "lines", lr = 0.5 }]
"""


def test_components_by_name_by_table_and_by_default(registry: Registry) -> None:
    spec = read_text(GOOD.replace("[data]", '[data]\ntokenizer = "made-up/bytes"'), registry)
    assert spec.model.mixer.name == "chain"
    assert (spec.model.mixer.component.chains, spec.model.mixer.component.spread) == (3, 2.2)
    assert spec.model.mixer.entry == registry.find("sequence-mixer", "chain")
    assert (spec.data.tokenizer.name, spec.model.halting.name) == ("bytes", "never")
    assert [part.name for part in spec.train.observe] == ["progress", "lines"]
    assert isinstance(spec.train.optimizer.component.lr, float)


def test_observers_left_out_are_all_defaults_and_an_empty_array_is_none(registry: Registry) -> None:
    line = GOOD.splitlines()[-1]
    assert [part.name for part in read_text(GOOD.replace(line, ""), registry).train.observe] == ["progress"]
    assert read_text(GOOD.replace(line, "observe = []"), registry).train.observe == ()


def test_every_type_of_key(registry: Registry) -> None:
    keys = (
        'style = { size = 2, colour = "blue", rate = 1 }, styles = [{ size = 3 }], layers = [1, 2], '
        'pair = [2, "b"], words = ["a", "a"], table = { a = 1 }, level = "top", either = "z", '
        'several = ["p"], file = "a/b", count = 3, on = true, anything = { a = [1, 2.5, "x"] }'
    )
    spec = read_text(GOOD.replace('"chain", chains = 3', f'"rich", {keys}'), registry)
    rich = spec.model.mixer.component
    assert (rich.style.size, rich.style.colour.name, rich.style.rate) == (2, "BLUE", 1.0)
    assert (rich.styles[0].size, rich.layers, rich.pair) == (3, [1, 2], (2, "b"))
    assert (rich.words, rich.table, rich.level, rich.either) == ({"a"}, {"a": 1.0}, "top", "z")
    assert (rich.several, rich.file, rich.count, rich.on) == (("p",), Path("a/b"), 3, True)
    assert rich.anything == {"a": [1, 2.5, "x"]}
    assert isinstance(rich.table["a"], float)


def test_what_a_component_holds_against_its_spec_is_said_in_its_words(registry: Registry) -> None:
    with pytest.raises(UserError) as error:
        read_text(GOOD.replace('{ use = "chain", chains = 3 }', '"objecting"'), registry, "x.toml")
    assert [str(mistake) for mistake in error.value.mistakes] == [
        "x.toml:8: model.mixer: wants a wider model",
        "x.toml:8: model.mixer: wants a deeper one",
    ]


# ---------------------------------------------------------------- extends


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / f"{name}.toml").write_text(text)
    return path


def test_tables_merge_and_arrays_replace(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "deep").mkdir()
    folder(tmp_path / "deep", base=GOOD)
    folder(tmp_path, middle='extends = "deep/base.toml"\nseed = 3\ntrain.observe = ["lines"]\n')
    over = """
        extends = "middle.toml"
        [model]
        depth = 5
        mixer = { spread = 1.0 }
        [train]
        observe = []
    """
    spec = read(folder(tmp_path, over=over) / "over.toml", registry)
    assert (spec.name, spec.seed, spec.model.width, spec.model.depth) == ("x", 3, 8, 5)
    assert (spec.model.mixer.component.chains, spec.model.mixer.component.spread) == (3, 1.0)
    assert spec.train.observe == ()


@pytest.mark.parametrize(
    ("base", "over", "chains"),
    [
        ('"chain"', "{ chains = 5 }", 5),
        ('{ use = "chain", chains = 5 }', "{ spread = 1 }", 5),
        ('{ use = "chain", chains = 5 }', '"chain"', 8),
        ('{ use = "chain", chains = 5 }', '{ use = "chain", spread = 1 }', 8),
        ('{ use = "rich", count = 5 }', '"chain"', 8),
        ('{ use = "rich", count = 5 }', '{ use = "chain", spread = 1 }', 8),
        ('"rich"', '"chain"', 8),
    ],
)
def test_a_component_over_a_component(
    base: str, over: str, chains: int, tmp_path: Path, registry: Registry
) -> None:
    folder(tmp_path, base=GOOD.replace('{ use = "chain", chains = 3 }', base))
    folder(tmp_path, over=f'extends = "base.toml"\nmodel.mixer = {over}')
    spec = read(tmp_path / "over.toml", registry)
    assert (spec.model.mixer.name, spec.model.mixer.component.chains) == ("chain", chains)


def test_a_mistake_is_placed_where_its_key_was_written(tmp_path: Path, registry: Registry) -> None:
    folder(tmp_path, base=GOOD.replace("[model]", "[model]\nbreadth = 1").replace('"chain"', '"chian"'))
    over = 'extends = "base.toml"\n[model]\nmixer = { spread = "wide" }\n[train]\nobserve = [1]'
    folder(tmp_path, over=over)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "over.toml", registry, ["train.steps=x", "model.halting.x=1"])
    places = [mistake.place.removeprefix(f"{tmp_path}/") for mistake in caught.value.mistakes]
    sets = ["--set model.halting.x=1", "--set train.steps=x"]
    assert places == ["over.toml:5", "base.toml:6", "base.toml:9", *sets]


def test_what_is_missing_is_missed_in_the_file_asked_for(tmp_path: Path, registry: Registry) -> None:
    folder(tmp_path, base=GOOD.replace("width = 8", ""), over='extends = "base.toml"\n\n[model]\n')
    for name, sets, place in (("over", (), "over.toml:3"), ("base", ("model.tie=true",), "base.toml:5")):
        with pytest.raises(UserError, match="missing key 'width'") as caught:
            read(tmp_path / f"{name}.toml", registry, sets)
        assert caught.value.mistakes[0].place == str(tmp_path / place)


# ---------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("model.width=256", "model.width", 256),
        (" model.width = 256 ", "model.width", 256),
        ("name=other", "name", "other"),
        ('name="o.t"', "name", "o.t"),
        ("name=1.2.3", "name", "1.2.3"),
        ("model.tie=true", "model.tie", True),
        ("model.mixer.chains=9", "model.mixer.component.chains", 9),
        ("model.mixer={chains=9}", "model.mixer.component.chains", 9),
        ("model.mixer=rich", "model.mixer.name", "rich"),
        ("model.mixer=made-up/rich", "model.mixer.name", "rich"),
        ("model.halting=made-up/never", "model.halting.name", "never"),
        ("train.seconds=1e2", "train.seconds", 100.0),
        ("train.observe=[]", "train.observe", ()),
    ],
)
def test_a_set_is_laid_over_the_file(assignment: str, path: str, value: Any, registry: Registry) -> None:
    setting: Any = read_text(GOOD, registry, sets=["model.width=7", assignment])
    for name in path.split("."):
        setting = getattr(setting, name)
    assert setting == value
    assert type(setting) is type(value)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.width=wide", "model.width: expects an integer, found 'wide'"),
        ("model.width=True", "model.width: expects an integer, found 'True'"),
        ("model.width='8'", "model.width: expects an integer, found '8'"),
        ("modle.width=8", "unknown key 'modle'; did you mean 'model'?"),
        ("extends=x", "unknown key 'extends'; allowed: data, model, name, seed, train"),
        ("model=8", "model: expects a table, found 8"),
        ("model.width", "write key=value, as in model.width=256"),
        ("model.width=", "write key=value, as in model.width=256"),
        ("=8", "write key=value, as in model.width=256"),
        ("model..width=8", "write key=value, as in model.width=256"),
        ("model.width=8, depth=3", "the value is neither TOML nor a plain word"),
        ("model.width=8}\nx={y=1", "the value is neither TOML nor a plain word"),
        ("model.width=8 # wide", "the value is neither TOML nor a plain word"),
        ("name=a b", "the value is neither TOML nor a plain word"),
        ("name='a", "the value is neither TOML nor a plain word"),
        ("x" + ".x" * 40 + "=1", "nested deeper than 32 levels"),
        ("name=\udcff", r"name: expects a string of Unicode text, found '\udcff'"),
    ],
)
def test_a_wrong_set_is_one_line(assignment: str, message: str, registry: Registry) -> None:
    with pytest.raises(UserError) as caught:
        read_text(GOOD, registry, sets=[assignment])
    (mistake,) = caught.value.mistakes
    assert mistake.place.startswith("--set ")
    assert mistake.place.isprintable()
    assert mistake.message.startswith(message)


def test_wrong_sets_do_not_hide_other_mistakes(registry: Registry) -> None:
    with pytest.raises(UserError) as caught:
        read_text(f"x = 1\n{GOOD}", registry, "f", ["y", "z=1", "model.width=0"])
    assert [mistake.place for mistake in caught.value.mistakes] == [
        "f:1",
        "--set model.width=0",
        "--set z=1",
        "--set y",
    ]


def test_the_same_text_gives_an_equal_spec(registry: Registry) -> None:
    spec: Spec = read_text(GOOD, registry)
    assert spec == read_text(GOOD, registry)
    assert spec != read_text(GOOD, registry, sets=["model.mixer.chains=4"])


Length = NewType("Length", int)


@dataclasses.dataclass
class Box:
    side: Length


@attrs.frozen
class Holder:
    length: Length | str = ""
    box: Box | None = None


def test_types_that_cattrs_knows_are_read_as_strictly(registry: Registry) -> None:
    reader = Reader(registry)
    assert reader.take({"length": 3, "box": {"side": 2}}, Holder) == Holder(Length(3), Box(Length(2)))
    for table, message in (
        ({"length": 3.5}, "expects an integer or a string, found 3.5"),
        ({"box": {"side": "2"}}, "expects an integer, found '2'"),
        ({"box": 2}, "expects Box, found 2"),
    ):
        with pytest.raises(Refused) as caught:
            reader.take(table, Holder)
        (problem,) = caught.value.problems
        assert message in problem.message
