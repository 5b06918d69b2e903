"""The schema of specs: takes what is sound, and refuses what one file alone shows to be wrong."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from resnetbk.registry import Registry
from resnetbk_authoring.schema import schema

jsonschema = pytest.importorskip("jsonschema")

BAD = Path(__file__).parents[1] / "core" / "spec" / "bad"
SPECS = Path(__file__).parents[2] / "specs"

BEYOND = {
    "duplicate.toml": "not TOML",
    "unfinished.toml": "not TOML",
    "extends-broken.toml": "the file it changes is not TOML",
    "extends-nothing.toml": "the file it changes is not there",
    "round.toml": "files that change each other",
}
"""Bad files whose only mistakes no schema can see."""


def validator(registry):
    tree = json.loads(json.dumps(schema(registry)))  # as an editor reads it
    jsonschema.Draft7Validator.check_schema(tree)
    return jsonschema.Draft7Validator(tree)


@pytest.fixture(scope="module")
def installed():
    return validator(Registry.discover())


@pytest.mark.parametrize("path", sorted(SPECS.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_spec_that_we_ship_is_valid(installed, path) -> None:
    installed.validate(tomllib.loads(path.read_text()))


@pytest.mark.parametrize("file", sorted({path.name for path in BAD.glob("*.toml")} - set(BEYOND)))
def test_every_bad_spec_is_refused(registry, file) -> None:
    assert not validator(registry).is_valid(tomllib.loads((BAD / file).read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", [name for name, reason in BEYOND.items() if reason != "not TOML"])
def test_what_lies_beyond_is_really_valid_by_itself(registry, file) -> None:
    validator(registry).validate(tomllib.loads((BAD / file).read_text(encoding="utf-8")))


WHOLE = """
name = "x"
data = { corpus = "python-docs" }
model = { width = 8, depth = 2, mixer = "bk-causal" }
train = { steps = 1 }
"""


@pytest.mark.parametrize(
    ("old", "new", "sound"),
    [
        ('"bk-causal"', '{ use = "bk-causal", chains = 4 }', True),
        ('"bk-causal"', '"resnetbk/bk-causal"', True),
        ('"bk-causal"', '{ use = "bk-causal", chains = 0 }', False),
        ('"bk-causal"', '{ use = "bk-causal", chans = 4 }', False),
        ('"bk-causal"', '{ use = "attention", chains = 4 }', False),
        ('"bk-causal"', "{ chains = 4 }", False),
        ('"bk-causal"', '"bk-diagonal"', False),  # sees the future
        ('"bk-causal"', '"bk-causal", channel = { expansion = 2.0 }', True),  # of the default
        ('"bk-causal"', '"bk-causal", channel = { experts = 4 }', False),
        ('"bk-causal"', '"bk-causal", resolution = "hourglass"', False),  # which must be told its layers
        ('"bk-causal"', '"bk-causal", resolution = { use = "hourglass", layers = [1, 0, 1] }', True),
        ('"bk-causal"', '"bk-causal", wiring = "serial"', False),
        ('name = "x"', 'name = "../x"', False),
        ('name = "x"', "", False),
        ('name = "x"', 'extends = "y.toml"', True),
        ("steps = 1", "seconds = 1.5", True),
        ("steps = 1", "batch = 1", False),
        ("steps = 1", "steps = 1, keep = -1", False),
        ("steps = 1", 'steps = 1, observe = ["jsonl", { use = "progress" }]', True),
        ("steps = 1", "steps = 1, target = 0", False),
    ],
)
def test_one_change_of_a_sound_spec(installed, old, new, sound) -> None:
    assert installed.is_valid(tomllib.loads(WHOLE))
    assert installed.is_valid(tomllib.loads(WHOLE.replace(old, new))) is sound


def test_a_change_may_leave_out_what_its_base_says(installed) -> None:
    for text in ("", "[model]\nmixer = { chains = 4 }", "[model]\nresolution = { factor = 2 }"):
        tree = tomllib.loads(text)
        assert not installed.is_valid(tree)
        assert installed.is_valid({"extends": "base.toml", **tree})


def test_keys_are_described_in_their_own_words(installed) -> None:
    definitions = installed.schema["definitions"]
    act = next(t for t in definitions["halting-policy"]["anyOf"] if t.get("title") == "act")
    assert act["properties"]["ponder"]["description"].startswith("weight in the loss of the mean ponder cost")
    model = installed.schema["oneOf"][0]["properties"]["model"]
    assert model["properties"]["wiring"]["description"].endswith("with c = channel(x)")


def test_the_command_writes_json(call) -> None:
    code, out, err = call("schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(schema(Registry.discover())))
