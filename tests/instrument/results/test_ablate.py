"""Worths of factors, alone and in combination, are what was planted."""

from __future__ import annotations

import attrs
import pytest
import tiny
from simulated import QUIET, TO_LOSS, Curve, session

from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk_instrument.results.ablate import ablation, judged
from resnetbk_instrument.results.comparison import Goal, Interval, Worth
from resnetbk_instrument.results.conclude import conclude
from resnetbk_instrument.results.factors import design_ablation


def ablated(made, curves, goal=TO_LOSS, **more):
    compared, _ = session(made.variants, curves, goal, pairs=3, **more)
    compared.run()
    result = conclude(compared.plan, compared.journal, compared.refused)
    return ablation(result, made)


@pytest.fixture
def three(variant, registry):
    return design_ablation(variant("train.precision=bf16", embedding=tiny.HASHED), None, registry)


def curves(made, quick, together=1.0, **more):
    """Factors make a variant so many times quicker; all three by `together` more."""
    result = {}
    for held, name in made.name_of.items():
        speed = together if len(held) == 3 else 1.0
        for factor in held:
            speed *= quick[factor]
        result[name] = Curve(quick=speed, **more)
    return result


def test_worths_alone_in_company_and_their_interaction_are_found(three):
    quick = {"embedding": 2.0, "optimizer": 1.5, "precision": 0.8}
    result = ablated(three, curves(three, quick, together=0.7), **QUIET)
    for factor in result.factors:
        worth = quick[factor.name]
        assert factor.worth.alone.estimate == pytest.approx(worth, rel=0.02)
        assert factor.worth.combined.estimate == pytest.approx(worth * 0.7, rel=0.02)
        assert factor.worth.interaction.estimate == pytest.approx(0.7, rel=0.03)
        assert factor.note == ""
    assert {factor.name: factor.verdict for factor in result.factors} == {
        "embedding": "keep",
        "optimizer": "keep",
        "precision": "drop",
    }
    (whole,) = (variant for variant in result.comparison.variants if variant.name == result.whole == "all")
    assert whole.saved["seconds"].estimate == pytest.approx(2.0 * 1.5 * 0.8 * 0.7, rel=0.02)


def test_parent_runs_are_charged_in_full_and_shared_among_targets(three):
    planted = curves(three, {"embedding": 2.0, "optimizer": 1.0, "precision": 1.0})
    for name, curve in planted.items():
        if name in ("only embedding", "all", "all but optimizer", "all but precision"):
            planted[name] = attrs.evolve(curve, parents=9.0)
    result = ablated(three, planted, **QUIET)
    seconds = {variant.name: variant.reached["seconds"].estimate for variant in result.comparison.variants}
    embedding, optimizer, _ = result.factors
    for targets, worth in {1: embedding.worth, **embedding.amortised}.items():
        shared = {n: seconds[n] - 9.0 + 9.0 / targets for n in ("only embedding", "all")}
        alone, combined = seconds["base"], seconds["all but embedding"]
        assert worth.alone.estimate == pytest.approx(alone / shared["only embedding"], rel=1e-6)
        assert worth.combined.estimate == pytest.approx(combined / shared["all"], rel=1e-6)
    assert list(embedding.amortised) == [3, 10]
    assert embedding.amortised[10].combined.estimate > 1.5 > embedding.worth.combined.estimate
    assert optimizer.worth.combined.estimate == pytest.approx(1.0)
    plain = curves(three, {"embedding": 2.0, "optimizer": 1.0, "precision": 1.0})
    result = ablated(three, plain, **QUIET)
    assert not any(factor.amortised for factor in result.factors)


def test_what_is_worth_nothing_is_undecided(three):
    verdicts = []
    for seed in range(10):
        quick = {"embedding": 2.0, "optimizer": 1.0, "precision": 1.0}
        result = ablated(three, curves(three, quick), seed=seed, busy=0.0)
        verdicts.append({factor.name: factor.verdict for factor in result.factors})
    assert all(each["embedding"] == "keep" for each in verdicts)
    assert sum(each["optimizer"] == "undecided" for each in verdicts) >= 8


def test_at_equal_budgets_worths_are_differences_of_losses(three):
    planted = curves(three, {"embedding": 2.0, "optimizer": 1.5, "precision": 1.0})
    result = ablated(three, planted, Goal(equal="tokens"), **QUIET)
    embedding, optimizer, precision = result.factors
    losses = {name: curve.loss(400) for name, curve in planted.items()}
    assert embedding.worth.alone.estimate == pytest.approx(losses["base"] - losses["only embedding"])
    assert embedding.worth.combined.estimate == pytest.approx(losses["all but embedding"] - losses["all"])
    difference = embedding.worth.combined.estimate - embedding.worth.alone.estimate
    assert embedding.worth.interaction.estimate == pytest.approx(difference)
    assert (embedding.verdict, optimizer.verdict, precision.verdict) == ("keep", "keep", "undecided")


def test_a_factor_without_which_the_loss_is_not_reached_is_kept(three):
    planted = curves(three, {"embedding": 1.0, "optimizer": 1.0, "precision": 1.0})
    for name in ("base", "only optimizer", "only precision", "all but embedding"):
        planted[name] = Curve(limit=1.94)
    result = ablated(three, planted, **QUIET)
    embedding, optimizer, _ = result.factors
    assert (embedding.verdict, embedding.worth) == ("keep", Worth())
    assert "all but embedding: does not reach 1.95" in embedding.note
    assert optimizer.worth.combined is not None
    assert optimizer.verdict == "undecided"


def test_one_factor_has_no_interaction(variant, registry):
    made = design_ablation(variant(), None, registry)
    planted = {"base": Curve(), "all": Curve(quick=2.0)}
    (factor,) = ablated(made, planted, **QUIET).factors
    assert factor.worth.alone == factor.worth.combined
    assert factor.worth.interaction is None
    assert factor.verdict == "keep"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(1.01, 1.2, "keep"), (0.9, 1.1, "undecided"), (0.8, 0.99, "drop")]
)
def test_the_whole_interval_decides(low, high, verdict):
    assert judged(Interval((low + high) / 2, low, high, 5), 1.0) == verdict


def test_what_components_refuse_is_left_out_with_the_reason(fake_plugin, tmp_path):
    fake_plugin(
        "acme",
        manifest="""
            schema = 1
            [sparsity-gate.needy]
            use = "acme.gates:Needy"
            summary = "Works with hashed n-grams alone"
            provides = ["causal", "streaming", "any-length", "deterministic", "ragged"]
        """,
        modules={
            "gates": """
                import attrs

                @attrs.frozen(kw_only=True)
                class Needy:
                    def check(self, spec):
                        if spec.model.embedding.name != "ngram-hash":
                            raise ValueError("needs the embedding ngram-hash")

                    def build(self, *, width, depth): ...
            """
        },
    )
    registry = Registry.discover()
    cases = {"": ["only gate"], 'optimizer = "muon"': ["only gate", "all but embedding"]}
    for optimizer, left_out in cases.items():
        changes = {"embedding": f'{tiny.HASHED}\ngate = "needy"', "optimizer": optimizer}
        path = tiny.write_spec(tmp_path, steps="steps = 400", **changes)
        made = design_ablation(read(path, registry), None, registry)
        reason = "model.gate: needs the embedding ngram-hash"
        assert dict(made.left_out) == dict.fromkeys(left_out, reason)
        assert set(made.variants).isdisjoint(left_out)
    planted = {name: Curve(quick=2.0 ** len(held)) for held, name in made.name_of.items()}
    result = ablated(made, planted, **QUIET)
    worths = {factor.name: factor for factor in result.factors}
    assert worths["gate"].worth.alone is None
    assert worths["gate"].worth.combined.estimate == pytest.approx(2.0, rel=0.02)
    assert worths["gate"].note == f"only gate cannot be built: {reason}"
    assert worths["embedding"].verdict == "undecided"
    assert worths["embedding"].note == f"all but embedding cannot be built: {reason}"
