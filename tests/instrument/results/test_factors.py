"""Factors are found by themselves, and every variant is what it is called."""

from __future__ import annotations

import pytest
import tiny

from resnetbk.errors import UserError
from resnetbk_instrument.results.factors import design_ablation


def chosen(spec):
    return spec.model.embedding.name, spec.train.optimizer.name, spec.train.precision


def test_parts_that_are_no_default_are_factors(variant, registry):
    made = design_ablation(variant("train.precision=bf16", embedding=tiny.HASHED), None, registry)
    assert {factor.name: factor.what for factor in made.factors} == {
        "embedding": "table -> ngram-hash",
        "optimizer": "adamw -> muon",
        "precision": "fp32 -> bf16",
    }
    assert {name: chosen(variant) for name, variant in made.variants.items()} == {
        "base": ("table", "adamw", "fp32"),
        "only embedding": ("ngram-hash", "adamw", "fp32"),
        "only optimizer": ("table", "muon", "fp32"),
        "only precision": ("table", "adamw", "bf16"),
        "all but embedding": ("table", "muon", "bf16"),
        "all but optimizer": ("ngram-hash", "adamw", "bf16"),
        "all but precision": ("ngram-hash", "muon", "fp32"),
        "all": ("ngram-hash", "muon", "bf16"),
    }
    assert next(iter(made.variants)) == "base"
    assert not made.left_out


@pytest.mark.parametrize(
    ("embedding", "names"),
    [("", ["base", "all"]), (tiny.HASHED, ["base", "only embedding", "only optimizer", "all"])],
)
def test_no_variant_is_trained_twice(variant, registry, embedding, names):
    assert list(design_ablation(variant(embedding=embedding), None, registry).variants) == names


def test_a_spec_of_defaults_has_nothing_to_take_apart(variant, registry):
    with pytest.raises(UserError, match=r"tiny: nothing to take apart.*--against"):
        design_ablation(variant(optimizer=""), None, registry)


def test_against_another_spec_every_difference_is_a_factor(variant, registry):
    base = variant("name=other", "seed=3", "train.steps=900", "train.evaluate=5", "train.observe=[]")
    whole = variant(
        "model.tie=true", "model.norm=layer", "model.mixer.chains=16", "train.batch=8", "train.clip=2.0",
        "model.channel.expansion=2",
    )  # fmt: skip
    made = design_ablation(whole, base, registry)
    assert {factor.name: factor.what for factor in made.factors} == {
        "mixer": "bk-causal chains=8 -> bk-causal chains=16",
        "channel": "mlp expansion=4.0 -> mlp expansion=2.0",
        "layout": "norm=rms tie=false -> norm=layer tie=true",
        "batch": "4 -> 8",
        "clip": "1.0 -> 2.0",
    }
    assert made.variants["base"].train.steps == made.variants["only mixer"].train.steps == 900
    assert made.variants["all but mixer"].train.steps == 400
    assert made.variants["all but layout"].model.norm == "rms"
    assert not made.variants["all but layout"].model.tie
    assert made.variants["all but layout"].train.batch == 8
    assert made.variants["all"] == whole


def test_another_text_or_tokenizer_is_no_factor(variant, registry):
    with pytest.raises(UserError, match=r"data\.tokenizer: differs"):
        design_ablation(variant("data.tokenizer=chars"), variant(), registry)


def test_one_variant_can_have_settings_of_its_own(variant, registry):
    whole = variant("train.precision=bf16", embedding=tiny.HASHED)
    sets = [
        ("all but optimizer", "train.optimizer.lr=0.002"),
        ("all but optimizer", "train.batch=7"),
        ("all", "model.embedding.order=4"),
    ]
    before, made = design_ablation(whole, None, registry), design_ablation(whole, None, registry, sets)
    changed = {name for name in made.variants if made.variants[name] != before.variants[name]}
    assert changed == {"all but optimizer", "all"}
    assert made.variants["all but optimizer"].train.optimizer.component.lr == 0.002
    assert made.variants["all but optimizer"].train.batch == 7
    assert chosen(made.variants["all but optimizer"]) == chosen(before.variants["all but optimizer"])
    assert made.variants["all"].model.embedding.component.order == 4
    assert made.factors == before.factors


def test_what_would_make_a_variant_another_is_refused_with_all_mistakes(variant, registry):
    whole = variant("train.precision=bf16", embedding=tiny.HASHED)
    sets = [
        ("all but optimiser", "train.optimizer.lr=0.002"),
        ("all", "train.optimizer.lrr=0.002"),
        ("base", "model.embedding=ngram-hash"),
        ("base", "train.precision=bf16"),
        ("base", "data.window=99"),
        ("only embedding", "data.corpus.held_out=0.3"),
    ]
    with pytest.raises(UserError) as caught:
        design_ablation(whole, None, registry, sets)
    said = str(caught.value).splitlines()
    assert len(said) == 6
    assert said[0] == "--set-in: there is no variant 'all but optimiser'; did you mean 'all but optimizer'?"
    assert said[1].startswith("--set-in: all: --set train.optimizer.lrr=0.002: ")
    refused = ("data.window", "model.embedding", "train.precision", "data.corpus")
    for line, key in zip(said[2:], refused, strict=True):
        assert f"{key} is no setting of what this variant has" in line
