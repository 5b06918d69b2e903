"""The spec's classes against the kinds they choose from, and against their own docstrings."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import attrs
import pytest

from resnetbk.kinds import KINDS
from resnetbk.spec import Data, Model, Part, Spec, Train
from resnetbk.spec.spec import Layered

SECTIONS: dict[str, type] = {"data": Data, "model": Model, "train": Train}


def test_each_kind_is_chosen_by_the_key_it_says() -> None:
    keys = {
        field.metadata["kind"]: f"{section}.{field.name}"
        for section, cls in SECTIONS.items()
        for field in attrs.fields(attrs.resolve_types(cls))
        if "kind" in field.metadata
    }
    assert keys == {kind.name: kind.key for kind in KINDS.values()}


def test_only_parts_name_a_kind() -> None:
    for cls in SECTIONS.values():
        for field in attrs.fields(attrs.resolve_types(cls)):
            assert ("kind" in field.metadata) == (field.type in (Part, Layered, tuple[Part, ...])), field.name


@pytest.mark.parametrize("cls", [Data, Model, Train])
def test_each_key_is_described(cls: type) -> None:
    lines = (cls.__doc__ or "").splitlines()
    described = [line.split()[0] for line in lines if line.startswith("    ") and line[4:5].strip()]
    keys = [field.name for field in attrs.fields(cls)]
    assert [word for word in described if word in keys] == keys


def training(**keys: Any) -> Train:
    parts = dict.fromkeys(("optimizer", "gradient", "start"))
    return Train(**{**parts, **keys})


@pytest.mark.parametrize(
    "keys",
    [
        *({}, {"steps": 0}, {"seconds": 0.0}, {"steps": 1, "batch": 0}, {"steps": 1, "clip": -1.0}),
        *({"steps": 1, name: -1} for name in ("evaluate", "save", "keep", "target")),
    ],
)
def test_a_wrong_value_is_refused_from_python_too(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|when should"):
        training(**keys)


def test_training_may_end_by_steps_or_seconds_or_both() -> None:
    for keys in (
        {"steps": 1},
        {"seconds": 0.5},
        {"steps": 1, "seconds": 1.0, "target": 0.1, "evaluate": 5},
    ):
        assert training(**keys).batch == 32


@pytest.mark.parametrize("name", ["", ".x", "-x", "a/b", "a b", "a\n", "é", "x" * 101])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    sections: Any = {"data": None, "model": None, "train": training(steps=1)}
    assert Spec(name="A1._-", **sections).seed == 0
    with pytest.raises(ValueError, match="is no name"):
        Spec(name=name, **sections)


def test_reading_specs_imports_no_torch() -> None:
    code = "import sys, resnetbk.spec; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
