"""Ranges: read, typed as the keys are, and checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry
from resnetbk_instrument.tuning.ranges import Choices, Span, search_spaces


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture
def specs(tmp_path: Path) -> tuple[str, str]:
    """One with chains, called tiny, and one with attention, called attn."""
    first = tiny.write_spec(tmp_path)
    second = tmp_path / "second.toml"
    text = first.read_text().replace('name = "tiny"', 'name = "attn"')
    second.write_text(text.replace('{ use = "bk-causal", chains = 8 }', '{ use = "attention", heads = 2 }'))
    return str(first), str(second)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.optimizer.lr=1e-3:1e-1:log", Span(0.001, 0.1, True, False)),
        ("train.optimizer.lr=1:2", Span(1.0, 2.0, False, False)),
        ("train.clip = 0 : 2", Span(0.0, 2.0, False, False)),
        ("model.depth=1:3", Span(1, 3, False, True)),
        ("model.mixer.chains=4:64:log", Span(4, 64, True, True)),
        ("train.seconds=1:2.5", Span(1.0, 2.5, False, False)),
        ("train.steps=10:20", Span(10, 20, False, True)),
        ("model.norm=rms,layer", Choices(('"rms"', '"layer"'))),
        ('model.norm="rms", "layer"', Choices(('"rms"', '"layer"'))),
        ("model.tie=true,false", Choices(("true", "false"))),
        ("model.width=8,16,32", Choices(("8", "16", "32"))),
        ("train.optimizer=muon,adamw", Choices(('"muon"', '"adamw"'))),
        ('train.optimizer={ use = "muon", lr = 0.1 }, "adamw"', None),
    ],
)
def test_a_range_is_typed_as_its_key_is(text, expected, specs, registry):
    (space,) = search_spaces(specs[:1], [text], registry)
    ((key, span),) = space.ranges.items()
    assert key == text.partition("=")[0].strip()
    assert span == (expected or Choices(('{ use = "muon", lr = 0.1 }', '"adamw"')))
    if isinstance(span, Span):
        assert isinstance(span.low, int) == span.integer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.optimizer.l=1:2", "train.optimizer: unknown key 'l'; did you mean 'lr'?"),
        ("model.nothing.x=1:2", "model: unknown key 'nothing'"),
        ("model.depth=1.5:3", "model.depth: expects two integers, LO:HI"),
        ("model.depth=a:b", "model.depth: expects two integers, LO:HI"),
        ("train.optimizer.lr=1:x", "train.optimizer.lr: expects two numbers, LO:HI"),
        ("train.optimizer.lr=1:inf", "train.optimizer.lr: LO must be less than HI, and both finite"),
        ("train.optimizer.lr=2:1", "train.optimizer.lr: LO must be less than HI, and both finite"),
        ("train.clip=0:1:log", "train.clip: a logarithmic range must be positive"),
        ("train.clip=0:1:ln", "train.clip: write LO:HI or LO:HI:log"),
        ("train.clip=-1:1", "train.clip: must be at least 0, is -1.0"),
        ("model.width=0:4", "model.width: must be at least 1, is 0"),
        ("model.norm=1:2", "model.norm: takes no number; write its values, separated by commas"),
        ("model.tie=0:1", "model.tie: takes no number; write its values, separated by commas"),
        (
            "model.norm=rms,leyer",
            "model.norm: expects 'rms' or 'layer' or 'layer-bias', found 'leyer'; did you mean 'layer'?",
        ),
        ("model.norm=rms", "model.norm: a choice needs two different values or more, separated by commas"),
        ("model.width=8,8", "model.width: a choice needs two different values or more, separated by commas"),
        ("model.mixer=attention,bk-diagonal", "bk-diagonal does not provide 'causal'"),
        ("other.toml:model.width=8,16", "no spec 'other.toml'; allowed: "),
        ("zz:model.width=8,16", "tiny.toml, tiny"),
        ("tinny:model.width=8,16", "no spec 'tinny'; did you mean 'tiny'?"),
        ("model.width", "write KEY=LO:HI, KEY=LO:HI:log or KEY=a,b,c"),
        ("=1:2", "write KEY=LO:HI, KEY=LO:HI:log or KEY=a,b,c"),
        ("model.width=", "write KEY=LO:HI, KEY=LO:HI:log or KEY=a,b,c"),
    ],
)
def test_a_mistake_in_a_range_is_placed(text, message, specs, registry):
    with pytest.raises(UserError) as caught:
        search_spaces(specs[:1], [text], registry)
    (mistake,) = caught.value.mistakes
    assert mistake.place == f"--range {text}"
    assert message in mistake.message


def test_all_mistakes_are_said_at_once(specs, registry):
    with pytest.raises(UserError) as caught:
        search_spaces(
            specs, ["model.width=0:4", "model.depth=1:2", "model.depth=1:3", "nothing=1:2"], registry
        )
    said = [str(mistake) for mistake in caught.value.mistakes]
    assert [line.partition(": ")[0] for line in said] == [
        "--range model.width=0:4", "--range model.depth=1:3", "--range nothing=1:2",
    ]  # fmt: skip
    assert "has a range already: model.depth=1:2" in said[1]
    with pytest.raises(UserError, match=r"--set model\.wid=3: model: unknown key"):
        search_spaces(specs, ["model.depth=1:2"], registry, ["model.wid=3"])


def test_ranges_go_to_the_specs_that_have_the_key(specs, registry):
    first, second = search_spaces(
        specs,
        ["model.mixer.chains=4:8", "model.depth=1:2", f"{specs[1]}:model.depth=1:3", "tiny:seed=1,2",
         "model.mixer.heads=2,4"],
        registry,
    )  # fmt: skip
    assert {key: str(span) for key, span in first.ranges.items()} == {
        "model.mixer.chains": "4 to 8", "model.depth": "1 to 2", "seed": "1, 2",
    }  # fmt: skip
    assert {key: str(span) for key, span in second.ranges.items()} == {
        "model.depth": "1 to 3", "model.mixer.heads": "2, 4",
    }  # fmt: skip


def test_a_spec_without_a_range_and_two_of_one_name_are_refused(specs, registry):
    with pytest.raises(UserError) as caught:
        search_spaces(specs, ["model.mixer.chains=4:8"], registry)
    assert str(caught.value) == f"{specs[1]}: no --range is about it"
    with pytest.raises(UserError, match=r"has the name of .*tiny\.toml, 'tiny'; give it another"):
        search_spaces([specs[0], specs[0]], ["model.depth=1:2"], registry)


def test_own_values_are_those_within_the_range(specs, registry):
    texts = ["model.mixer.chains=4:8", "model.depth=3:4", "train.optimizer=adamw,muon", "train.seconds=1:2"]
    (space,) = search_spaces(specs[:1], texts, registry)
    assert space.own() == {"model.mixer.chains": 8, "train.optimizer": '"muon"'}
    spec = space.at({"model.mixer.chains": 5, "train.optimizer": '"adamw"'}, registry)
    assert (spec.model.mixer.component.chains, spec.train.optimizer.name) == (5, "adamw")
