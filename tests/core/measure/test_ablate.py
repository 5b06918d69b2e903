"""Factors are found by themselves, every arm is what it is called, and worths are what was planted."""

from __future__ import annotations

import attrs
import pytest
import tiny
from simulated import Curve, Machine

from resnetbk.errors import UserError
from resnetbk.measure.ablate import ablation, judged
from resnetbk.measure.compare import Session
from resnetbk.measure.comparison import Goal, Interval, Worth
from resnetbk.measure.conclude import conclude
from resnetbk.measure.factors import design
from resnetbk.measure.journal import Journal
from resnetbk.measure.plan import Plan
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read

QUIET = {"noise": 0.0, "loss_noise": 0.0, "drift": 0.0, "busy": 0.0}
EMBEDDING = 'embedding = { use = "ngram-hash", order = 3 }'


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


@pytest.fixture
def spec(tmp_path, registry):
    def read_spec(*sets: str, **changes: str):
        return read(tiny.write_spec(tmp_path, steps="steps = 400", **changes), registry, sets)

    return read_spec


def chosen(spec):
    return spec.model.embedding.name, spec.train.optimizer.name, spec.train.precision


# ---------------------------------------------------------------- factors and arms


def test_parts_that_are_no_default_are_factors(spec, registry):
    made = design(spec("train.precision=bf16", embedding=EMBEDDING), None, registry)
    assert {factor.name: factor.what for factor in made.factors} == {
        "embedding": "table -> ngram-hash",
        "optimizer": "adamw -> muon",
        "precision": "fp32 -> bf16",
    }
    assert {name: chosen(arm) for name, arm in made.arms.items()} == {
        "base": ("table", "adamw", "fp32"),
        "only embedding": ("ngram-hash", "adamw", "fp32"),
        "only optimizer": ("table", "muon", "fp32"),
        "only precision": ("table", "adamw", "bf16"),
        "all but embedding": ("table", "muon", "bf16"),
        "all but optimizer": ("ngram-hash", "adamw", "bf16"),
        "all but precision": ("ngram-hash", "muon", "fp32"),
        "all": ("ngram-hash", "muon", "bf16"),
    }
    assert next(iter(made.arms)) == "base"
    assert not made.left_out


@pytest.mark.parametrize(
    ("embedding", "names"),
    [("", ["base", "all"]), (EMBEDDING, ["base", "only embedding", "only optimizer", "all"])],
)
def test_no_arm_is_trained_twice(spec, registry, embedding, names):
    assert list(design(spec(embedding=embedding), None, registry).arms) == names


def test_a_spec_of_defaults_has_nothing_to_take_apart(spec, registry):
    with pytest.raises(UserError, match=r"tiny: nothing to take apart.*--against"):
        design(spec(optimizer=""), None, registry)


def test_against_another_spec_every_difference_is_a_factor(spec, registry):
    base = spec("name=other", "seed=3", "train.steps=900", "train.evaluate=5", "train.observe=[]")
    whole = spec(
        "model.tie=true", "model.norm=layer", "model.mixer.chains=16", "train.batch=8", "train.clip=2.0",
        "model.channel.expansion=2",
    )  # fmt: skip
    made = design(whole, base, registry)
    assert {factor.name: factor.what for factor in made.factors} == {
        "mixer": "bk-causal chains=8 -> bk-causal chains=16",
        "channel": "mlp expansion=4.0 -> mlp expansion=2.0",
        "layout": "norm=rms tie=false -> norm=layer tie=true",
        "batch": "4 -> 8",
        "clip": "1.0 -> 2.0",
    }
    assert made.arms["base"].train.steps == made.arms["only mixer"].train.steps == 900
    assert made.arms["all but mixer"].train.steps == 400
    assert made.arms["all but layout"].model.norm == "rms"
    assert not made.arms["all but layout"].model.tie
    assert made.arms["all but layout"].train.batch == 8
    assert made.arms["all"] == whole


def test_another_text_or_tokenizer_is_no_factor(spec, registry):
    with pytest.raises(UserError, match=r"data\.tokenizer: differs"):
        design(spec("data.tokenizer=chars"), spec(), registry)


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
        changes = {"embedding": f'{EMBEDDING}\ngate = "needy"', "optimizer": optimizer}
        path = tiny.write_spec(tmp_path, steps="steps = 400", **changes)
        made = design(read(path, registry), None, registry)
        reason = "model.gate: needs the embedding ngram-hash"
        assert dict(made.left_out) == dict.fromkeys(left_out, reason)
        assert set(made.arms).isdisjoint(left_out)
    planted = {name: Curve(quick=2.0 ** len(held)) for held, name in made.holds.items()}
    found = ablated(made, planted, Goal(loss=1.95), **QUIET)
    worths = {factor.name: factor for factor in found.factors}
    assert worths["gate"].worth.alone is None
    assert worths["gate"].worth.company.estimate == pytest.approx(2.0, rel=0.02)
    assert worths["gate"].note == f"only gate cannot be made: {reason}"
    assert worths["embedding"].verdict == "undecided"
    assert worths["embedding"].note == f"all but embedding cannot be made: {reason}"


def test_one_arm_can_have_settings_of_its_own(spec, registry):
    whole = spec("train.precision=bf16", embedding=EMBEDDING)
    sets = [
        ("all but optimizer", "train.optimizer.lr=0.002"),
        ("all but optimizer", "train.batch=7"),
        ("all", "model.embedding.order=4"),
    ]
    before, made = design(whole, None, registry), design(whole, None, registry, sets)
    changed = {name for name in made.arms if made.arms[name] != before.arms[name]}
    assert changed == {"all but optimizer", "all"}
    assert made.arms["all but optimizer"].train.optimizer.component.lr == 0.002
    assert made.arms["all but optimizer"].train.batch == 7
    assert chosen(made.arms["all but optimizer"]) == chosen(before.arms["all but optimizer"])
    assert made.arms["all"].model.embedding.component.order == 4
    assert made.factors == before.factors


def test_what_would_make_an_arm_another_is_refused_with_all_mistakes(spec, registry):
    whole = spec("train.precision=bf16", embedding=EMBEDDING)
    sets = [
        ("all but optimiser", "train.optimizer.lr=0.002"),
        ("all", "train.optimizer.lrr=0.002"),
        ("base", "model.embedding=ngram-hash"),
        ("base", "train.precision=bf16"),
        ("base", "data.window=99"),
        ("only embedding", "data.corpus.held_out=0.3"),
    ]
    with pytest.raises(UserError) as caught:
        design(whole, None, registry, sets)
    said = str(caught.value).splitlines()
    assert len(said) == 6
    assert said[0] == "--set-in: there is no arm 'all but optimiser'; did you mean 'all but optimizer'?"
    assert said[1].startswith("--set-in: all: --set train.optimizer.lrr=0.002: ")
    refused = ("data.window", "model.embedding", "train.precision", "data.corpus")
    for line, key in zip(said[2:], refused, strict=True):
        assert f"{key} is no setting of what this arm has" in line


# ---------------------------------------------------------------- worths


def ablated(made, curves, goal, *, pairs=3, **machine):
    plan = Plan(name="x", arms={n: attrs.evolve(s, name=n.replace(" ", "-")) for n, s in made.arms.items()},
                goal=goal, pairs=pairs)  # fmt: skip
    simulated = Machine({name.replace(" ", "-"): curve for name, curve in curves.items()}, **machine)
    session = Session(plan, simulated.train, simulated.calibrate, Journal())
    session.run()
    found = conclude(plan, session.journal, session.refused)
    return ablation(found, made, session.journal.trials)


@pytest.fixture
def three(spec, registry):
    return design(spec("train.precision=bf16", embedding=EMBEDDING), None, registry)


def curves(made, quick, together=1.0, **more):
    """Factors make an arm so many times quicker; all three by `together` more."""
    found = {}
    for held, name in made.holds.items():
        speed = together if len(held) == 3 else 1.0
        for factor in held:
            speed *= quick[factor]
        found[name] = Curve(quick=speed, **more)
    return found


def test_worths_alone_in_company_and_their_interaction_are_found(three):
    quick = {"embedding": 2.0, "optimizer": 1.5, "precision": 0.8}
    found = ablated(three, curves(three, quick, together=0.7), Goal(loss=1.95), **QUIET)
    for factor in found.factors:
        worth = quick[factor.name]
        assert factor.worth.alone.estimate == pytest.approx(worth, rel=0.02)
        assert factor.worth.company.estimate == pytest.approx(worth * 0.7, rel=0.02)
        assert factor.worth.interaction.estimate == pytest.approx(0.7, rel=0.03)
        assert factor.note == ""
    assert {factor.name: factor.verdict for factor in found.factors} == {
        "embedding": "keep",
        "optimizer": "keep",
        "precision": "drop",
    }
    (whole,) = (arm for arm in found.comparison.arms if arm.name == found.whole == "all")
    assert whole.saved["seconds"].estimate == pytest.approx(2.0 * 1.5 * 0.8 * 0.7, rel=0.02)


def test_a_source_is_charged_in_full_and_shared_among_targets(three):
    planted = curves(three, {"embedding": 2.0, "optimizer": 1.0, "precision": 1.0})
    for name, curve in planted.items():
        if name in ("only embedding", "all", "all but optimizer", "all but precision"):
            planted[name] = attrs.evolve(curve, source=9.0)
    found = ablated(three, planted, Goal(loss=1.95), **QUIET)
    seconds = {arm.name: arm.reached["seconds"].estimate for arm in found.comparison.arms}
    embedding, optimizer, _ = found.factors
    for targets, worth in {1: embedding.worth, **embedding.amortised}.items():
        shared = {n: seconds[n] - 9.0 + 9.0 / targets for n in ("only embedding", "all")}
        alone, company = seconds["base"], seconds["all but embedding"]
        assert worth.alone.estimate == pytest.approx(alone / shared["only embedding"], rel=1e-6)
        assert worth.company.estimate == pytest.approx(company / shared["all"], rel=1e-6)
    assert list(embedding.amortised) == [3, 10]
    assert embedding.amortised[10].company.estimate > 1.5 > embedding.worth.company.estimate
    assert optimizer.worth.company.estimate == pytest.approx(1.0)
    plain = curves(three, {"embedding": 2.0, "optimizer": 1.0, "precision": 1.0})
    found = ablated(three, plain, Goal(loss=1.95), **QUIET)
    assert not any(factor.amortised for factor in found.factors)


def test_what_is_worth_nothing_is_undecided(three):
    verdicts = []
    for seed in range(10):
        quick = {"embedding": 2.0, "optimizer": 1.0, "precision": 1.0}
        found = ablated(three, curves(three, quick), Goal(loss=1.95), seed=seed, busy=0.0)
        verdicts.append({factor.name: factor.verdict for factor in found.factors})
    assert all(each["embedding"] == "keep" for each in verdicts)
    assert sum(each["optimizer"] == "undecided" for each in verdicts) >= 8


def test_at_equal_budgets_worths_are_differences_of_losses(three):
    planted = curves(three, {"embedding": 2.0, "optimizer": 1.5, "precision": 1.0})
    found = ablated(three, planted, Goal(equal="tokens"), **QUIET)
    embedding, optimizer, precision = found.factors
    losses = {name: curve.loss(400) for name, curve in planted.items()}
    assert embedding.worth.alone.estimate == pytest.approx(losses["base"] - losses["only embedding"])
    assert embedding.worth.company.estimate == pytest.approx(losses["all but embedding"] - losses["all"])
    difference = embedding.worth.company.estimate - embedding.worth.alone.estimate
    assert embedding.worth.interaction.estimate == pytest.approx(difference)
    assert (embedding.verdict, optimizer.verdict, precision.verdict) == ("keep", "keep", "undecided")


def test_a_factor_without_which_the_loss_is_not_reached_is_kept(three):
    planted = curves(three, {"embedding": 1.0, "optimizer": 1.0, "precision": 1.0})
    for name in ("base", "only optimizer", "only precision", "all but embedding"):
        planted[name] = Curve(floor=1.94)
    found = ablated(three, planted, Goal(loss=1.95), **QUIET)
    embedding, optimizer, _ = found.factors
    assert (embedding.verdict, embedding.worth) == ("keep", Worth())
    assert "all but embedding: does not reach 1.95" in embedding.note
    assert optimizer.worth.company is not None
    assert optimizer.verdict == "undecided"


def test_one_factor_has_no_interaction(spec, registry):
    made = design(spec(), None, registry)
    planted = {"base": Curve(), "all": Curve(quick=2.0)}
    (factor,) = ablated(made, planted, Goal(loss=1.95), **QUIET).factors
    assert factor.worth.alone == factor.worth.company
    assert factor.worth.interaction is None
    assert factor.verdict == "keep"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(1.01, 1.2, "keep"), (0.9, 1.1, "undecided"), (0.8, 0.99, "drop")]
)
def test_the_whole_interval_decides(low, high, verdict):
    assert judged(Interval((low + high) / 2, low, high, 5), 1.0) == verdict
