"""Patterns of layers: arrays of components that repeat over the depth. Mistakes: `bad/pattern.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnetbk.errors import UserError
from resnetbk.lock.changes import differences
from resnetbk.lock.lock import dump, facts, lock, read_lock, resolved
from resnetbk.registry import Registry
from resnetbk.spec import Spec, read, read_text
from resnetbk.spec.spec import by_layer, keyed, parts

HYBRID = '[{ use = "chain", chains = 3, layers = 3 }, "plain"]'


def spec(registry: Registry, mixer: str = HYBRID, depth: int = 6, *sets: str, more: str = "") -> Spec:
    head = f'name = "x"\ndata = {{ corpus = "tiny" }}\ntrain = {{ steps = 1 }}\n[model]\nwidth = 8\n{more}\n'
    return read_text(f"{head}depth = {depth}\nmixer = {mixer}\n", registry, "f", sets)


@pytest.mark.parametrize(
    ("mixer", "depth", "keys"),
    [
        (HYBRID, 6, "000100"),
        (HYBRID, 9, "000100010"),
        (HYBRID, 4, "0001"),
        ('["plain"]', 3, "000"),
        ('["plain", "chain"]', 3, "010"),
        ('[{ use = "plain", layers = 9223372036854775807 }]', 3, "000"),
    ],
)
def test_a_pattern_repeats_until_the_depth_is_filled(
    mixer: str, depth: int, keys: str, registry: Registry
) -> None:
    chosen = spec(registry, mixer, depth).model.mixer
    entries = dict(keyed("m", chosen))
    assert by_layer("m", chosen, depth) == [(f"m[{i}]", entries[f"m[{i}]"]) for i in keys]


def test_an_entry_that_no_layer_has_is_refused(registry: Registry) -> None:
    with pytest.raises(UserError) as caught:
        spec(registry, HYBRID, 3, more='channel = [{ use = "dense", layers = 5 }, "dense"]')
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        f"f:{line}: model.{key}: its last entry comes after {before} layers, and depth = 3: no layer has it; "
        f"give depth = {before + 1} or more, or leave it out"
        for line, key, before in ((6, "channel", 5), (8, "mixer", 3))
    ]


def test_one_component_is_that_of_every_layer(registry: Registry) -> None:
    model = spec(registry, '"chain"', 3).model
    assert by_layer("model.mixer", model.mixer, 3) == [("model.mixer", model.mixer)] * 3
    assert model.mixer.layers is None


def test_layers_in_a_pattern_is_its_own_even_of_a_component_that_has_such_a_key(registry: Registry) -> None:
    first, other = spec(registry, '[{ use = "rich", layers = 2, count = 7 }, "rich"]').model.mixer
    assert (first.layers, first.component.layers, first.component.count) == (2, [], 7)
    assert (other.layers, other.component.layers) == (1, [])
    assert spec(registry, '{ use = "rich", layers = [2] }').model.mixer.component.layers == [2]


def test_tables_of_an_array_and_channel_mixers_too(registry: Registry) -> None:
    text = 'name = "x"\ndata = { corpus = "tiny" }\ntrain = { steps = 1 }\n[model]\nwidth = 8\ndepth = 3\n'
    tables = '[[model.mixer]]\nuse = "chain"\nlayers = 2\n[[model.mixer]]\nuse = "plain"\n'
    model = read_text(f'{text}channel = [{{ layers = 2 }}, "dense"]\n{tables}', registry).model
    assert [(part.name, part.layers) for part in model.mixer] == [("chain", 2), ("plain", 1)]
    assert [(part.name, part.layers) for part in model.channel] == [("dense", 2), ("dense", 1)]
    with pytest.raises(
        UserError, match=r"^f:12: model\.mixer\[1\]: unknown key 'chans'; did you mean 'chains'"
    ):
        read_text(f"{text}{tables}chans = 1\n".replace('"plain"', '"chain"'), registry, "f")


def test_what_a_components_check_refuses_is_placed_in_the_array(registry: Registry) -> None:
    with pytest.raises(UserError) as caught:
        spec(registry, '[\n  "chain",\n  "objecting",\n]')
    assert [str(mistake)[:38] for mistake in caught.value.mistakes] == [
        "f:10: model.mixer[1]: wants a wider mo",
        "f:10: model.mixer[1]: wants a deeper o",
    ]


def test_parts_are_named_by_key_and_index(registry: Registry) -> None:
    keys = [key for key, _ in parts(spec(registry))]
    assert keys[:2] == ["model.mixer[0]", "model.mixer[1]"]
    assert "model.channel" in keys


# ---------------------------------------------------------------- laid over each other


def test_an_array_is_set_as_a_whole(registry: Registry) -> None:
    assert spec(registry, '"plain"', 6, f"model.mixer={HYBRID}") == spec(registry)
    assert spec(registry, HYBRID, 6, "model.mixer=plain") == spec(registry, '"plain"')
    assert spec(registry, HYBRID, 6, 'model.mixer={ use = "chain" }') == spec(registry, '"chain"')


@pytest.mark.parametrize("key", ["model.mixer.chains", "model.mixer.0.chains"])
def test_no_single_key_of_an_array_is_set(key: str, registry: Registry) -> None:
    with pytest.raises(UserError) as caught:
        spec(registry, HYBRID, 6, f"{key}=4")
    form = "write all of it, as in [{ use = NAME, layers = 3 }, NAME]"
    assert str(caught.value) == f"--set {key}=4: model.mixer: is an array; {form}"


def test_nor_in_a_file_that_extends_another(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "base.toml").write_text(dump(spec(registry)))
    over = tmp_path / "over.toml"
    over.write_text('extends = "base.toml"\n\nmodel.mixer = { chains = 4 }\n')
    with pytest.raises(UserError, match=r"over\.toml:3: model\.mixer: is an array; write all of it"):
        read(over, registry)
    over.write_text('extends = "base.toml"\nmodel.mixer = ["plain"]\n')
    assert [part.name for part in read(over, registry).model.mixer] == ["plain"]


# ---------------------------------------------------------------- written and read


def test_a_pattern_is_written_and_read_back(tmp_path: Path, registry: Registry) -> None:
    hybrid = spec(registry, more='channel = [{ use = "dense", layers = 2 }]')
    assert read_text(dump(hybrid), registry) == hybrid
    mixers = resolved(hybrid)["model"]["mixer"]
    assert [(mixer["use"], mixer["layers"]) for mixer in mixers] == [("chain", 3), ("plain", 1)]
    path = tmp_path / "x.lock"
    path.write_text(lock(hybrid, registry))
    assert read_lock(path, registry) == hybrid
    components = facts(hybrid, registry)["components"]
    assert {"model.mixer[0]", "model.mixer[1]", "model.channel[0]"} <= components.keys()


def test_patterns_differ_key_by_key(registry: Registry) -> None:
    one, other = (resolved(spec(registry, HYBRID.replace("3", n))) for n in ("3", "4"))
    assert differences(one, other) == ["model.mixer[0].layers: 3 -> 4", "model.mixer[0].chains: 3 -> 4"]
    assert 'model.mixer[1].use: "plain" -> nothing' in differences(one, resolved(spec(registry, '"chain"')))
