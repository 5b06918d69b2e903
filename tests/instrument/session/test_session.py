"""The instrument on a machine whose truth is known: it finds what was planted, and nothing where none was."""

from __future__ import annotations

import math

import attrs
import pytest
from simulated import QUIET, TO_LOSS, Curve, session

from resnetbk.errors import UserError
from resnetbk_instrument.pages.comparison import comparison_page
from resnetbk_instrument.results.comparison import Goal
from resnetbk_instrument.results.conclude import conclude
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.plan import WARMING
from resnetbk_instrument.session.session import WARM_UP


def compared(spec, curves, goal=TO_LOSS, **more):
    made, _ = session(spec, curves, goal, **more)
    made.run()
    return conclude(made.plan, made.journal, made.refused)


def holds(interval, truth):
    return interval.low <= truth <= interval.high


# ---------------------------------------------------------------- calibration of the instrument


def ratios(spec, b: Curve, seeds: int):
    """The second variant's ratio of seconds at 1.95 nats, for each simulated machine."""
    result = (compared(spec, {"A": Curve(), "B": b}, seed=seed) for seed in range(seeds))
    return [comparison.variants[1].saved["seconds"] for comparison in result]


@pytest.mark.parametrize(
    ("b", "truth"),
    [
        pytest.param(Curve(), 1.0, id="A against A"),
        pytest.param(Curve(seconds=0.13), 1 / 1.3, id="steps that sleep for 1.3x as long"),
    ],
)
def test_19_of_20_machines_give_an_interval_that_holds_the_truth(spec, b, truth):
    assert sum(holds(result, truth) for result in ratios(spec, b, 20)) >= 19


@pytest.mark.parametrize(
    ("b", "truth"),
    [(Curve(), 1.0), (Curve(seconds=0.1 / 1.3), 1.3), (Curve(quick=1.3), 1.3), (Curve(quick=8.0), 8.0)],
)
def test_intervals_hold_the_truth_as_often_as_they_say_and_are_of_use(spec, b, truth):
    result = ratios(spec, b, 300)
    assert sum(holds(each, truth) for each in result) >= 0.912 * 300  # three deviations below 95 %
    assert sorted(each.high / each.low for each in result)[150] < 1.2


def test_a_planted_quality_loss_is_refused_as_unequal(spec):
    for seed in range(20):
        result = compared(spec, {"A": Curve(), "B": Curve(limit=1.75)}, seed=seed)
        a, b = result.variants
        assert b.refused.startswith("does not reach 1.95 nats/token: its best is 2.")
        assert b.refused.endswith("within 3,200 steps")
        assert (b.saved, b.reached, b.gained) == ({}, {}, None)
        assert set(a.reached) == {"seconds", "cpu_seconds", "flops", "tokens"}


@pytest.mark.parametrize("cost", ["seconds", "flops", "tokens"])
def test_at_equal_cost_the_loss_gained_is_found(spec, cost):
    b = Curve(seconds=0.13, limit=1.15)
    steps = 400 if cost == "tokens" else round(400 / 1.3)
    truth = Curve().loss(400) - b.loss(steps)
    result = [
        compared(spec, {"A": Curve(), "B": b}, Goal(equal=cost), seed=seed, loss_noise=0.02).variants[1]
        for seed in range(60)
    ]
    assert sum(holds(variant.gained, truth) for variant in result) >= 53
    assert all(not variant.saved and not variant.reached and not variant.refused for variant in result)


# ---------------------------------------------------------------- who trains when


def test_variants_take_turns_with_paired_seeds_and_the_order_turns_round(spec):
    made, machine = session(spec, {"A": Curve(), "B": Curve(), "C": Curve()}, pairs=2, **QUIET)
    made.run()
    assert [name for name, _, steps in machine.trained[:3]] == ["A", "B", "C"]
    assert {steps for _, _, steps in machine.trained[:3]} == {WARM_UP}
    rounds = [[t.variant for t in made.journal.of_round(pair)] for pair in (0, 1)]
    assert rounds == [["A", "B", "C", "C", "B", "A"], ["C", "B", "A", "A", "B", "C"]]
    for pair in (0, 1):
        assert {trial.seed for trial in made.journal.of_round(pair)} == {spec.seed + pair}
    assert {trial.seed for trial in made.journal.of_round(-1)}.isdisjoint({spec.seed, spec.seed + 1})


def test_two_budgets_stand_around_the_one_that_reaches_the_loss(spec):
    made, _ = session(spec, {"A": Curve(), "B": Curve(quick=3.0)}, **QUIET)
    made.run()
    for variant, curve in (("A", Curve()), ("B", Curve(quick=3.0))):
        low, high = (trial.steps for trial in made.journal.of(variant, 0))
        assert low < curve.steps(1.95) < high
        assert high / low == pytest.approx(math.sqrt(2), rel=0.05)
    result = conclude(made.plan, made.journal, made.refused)
    assert result.variants[1].saved["seconds"].estimate == pytest.approx(3.0, rel=0.01)
    assert result.variants[0].reached["tokens"].estimate == pytest.approx(128 * Curve().steps(1.95), rel=0.01)
    assert result.variants[1].loss.n == 5


def test_a_search_that_was_unlucky_is_corrected_by_budgets_further_out(spec):
    journal = Journal()
    made, machine = session(spec, {"A": Curve(), "B": Curve()}, journal=journal, pairs=2, **QUIET)
    train = machine.train

    def lucky(spec, seed, steps):
        outcome = train(spec, seed, steps)
        return attrs.evolve(outcome, loss=outcome.loss - 0.2) if seed == made.plan.seed(-1) else outcome

    made.train = lucky
    made.run()
    assert all(len(journal.of("A", pair)) > 2 for pair in (0, 1))
    result = conclude(made.plan, journal, made.refused)
    assert result.variants[0].reached["tokens"].estimate == pytest.approx(128 * Curve().steps(1.95), rel=0.05)


def test_set_up_is_charged(spec):
    result = compared(spec, {"A": Curve(), "B": Curve(set_up=40.0)}, **QUIET)
    needs = 0.1 * Curve().steps(1.95)
    assert result.variants[1].saved["seconds"].estimate == pytest.approx(needs / (needs + 40.0), rel=0.01)
    assert result.variants[1].saved["tokens"].estimate == pytest.approx(1.0, rel=0.01)


def test_parent_runs_are_charged_in_full_and_shared_among_targets(spec):
    result = compared(spec, {"A": Curve(), "B": Curve(quick=4.0, parents=30.0)}, **QUIET)
    needs, variant = 0.1 * Curve().steps(1.95), result.variants[1]
    for targets, saved in {1: variant.saved, **variant.amortised}.items():
        worth = needs / (needs / 4 + 30.0 / targets)
        assert saved["seconds"].estimate == pytest.approx(worth, rel=0.01)
        assert "tokens" not in saved  # what its parent runs took of them is not told, and is no zero
    assert sorted(variant.amortised) == [3, 10]
    assert result.variants[0].amortised == {}
    page = comparison_page(result)
    assert "targets of its parent runs" in page
    assert "shared among several targets" in page
    assert "targets of its parent runs" not in comparison_page(
        compared(spec, {"A": Curve(), "B": Curve()}, **QUIET)
    )


def test_a_target_that_everything_reaches_is_the_users_mistake(spec):
    with pytest.raises(UserError, match=r"--target-loss 9: A is at .* after 10 steps; ask for a lower loss"):
        compared(spec, {"A": Curve(), "B": Curve()}, Goal(loss=9.0))


def test_bits_per_byte_are_the_goal_where_tokenizers_differ(spec):
    goal = Goal(loss=1.95 / math.log(2), unit="bits/byte")
    result = compared(spec, {"A": Curve(), "B": Curve(quick=2.0)}, goal, **QUIET)
    assert result.variants[1].saved["flops"].estimate == pytest.approx(2.0, rel=0.01)
    assert result.variants[0].loss.estimate == pytest.approx(1.95 / math.log(2), rel=0.1)


# ---------------------------------------------------------------- budgets


def test_a_budget_is_kept_to(spec):
    goal = Goal(equal="flops", budget=3e10)
    result = compared(spec, {"A": Curve(), "B": Curve(seconds=0.25)}, goal, pairs=3, **QUIET)
    assert [variant.spent["flops"].estimate for variant in result.variants] == [
        pytest.approx(3e10, rel=0.01)
    ] * 2
    assert result.goal.budget == 3e10
    assert {trial.steps for trial in result.trials if trial.pair == 0} == {300, 120}


def test_steps_that_turn_out_more_expensive_than_short_trainings_said_are_corrected(spec):
    made, machine = session(spec, {"A": Curve(), "B": Curve()}, Goal(equal="seconds"), pairs=3, **QUIET)
    train = machine.train

    def slower(spec, seed, steps):
        outcome = train(spec, seed, steps)
        slow = spec.name == "B" and steps > 100
        costs = {**outcome.costs, "seconds": outcome.costs["seconds"] * 1.5}
        return attrs.evolve(outcome, costs=costs) if slow else outcome

    made.train = slower
    made.run()
    result = conclude(made.plan, made.journal, made.refused)
    assert result.thrown_out == 1
    spent = [variant.spent["seconds"].estimate for variant in result.variants]
    assert spent[1] == pytest.approx(spent[0], rel=0.01)
    assert result.goal.budget == pytest.approx(40.0)


def test_a_budget_of_nothing_is_the_users_mistake(spec):
    with pytest.raises(UserError, match=r"--budget buys 1 steps of A; 10 are the least"):
        compared(spec, {"A": Curve(), "B": Curve()}, Goal(equal="tokens", budget=128.0))


# ---------------------------------------------------------------- what goes wrong


def test_a_variant_that_diverges_is_refused_and_not_averaged(spec):
    result = compared(spec, {"A": Curve(), "B": Curve(breaks=150), "C": Curve(quick=2.0)}, **QUIET)
    b, c = result.variants[1:]
    assert b.refused.startswith("diverges at seed ")
    assert "the loss is nan" in b.refused
    assert (b.saved, b.reached) == ({}, {})
    assert c.saved["seconds"].estimate == pytest.approx(2.0, rel=0.01)
    (failed,) = (trial for trial in result.trials if trial.failed)
    assert failed.variant == "B"
    assert math.isnan(failed.outcome.loss)


def test_when_the_first_variant_is_refused_there_are_no_ratios(spec):
    result = compared(spec, {"A": Curve(limit=1.9), "B": Curve()}, **QUIET)
    assert result.variants[0].refused
    assert result.variants[1].reached
    assert result.variants[1].saved == {}
    with pytest.raises(UserError, match=r"A: diverges .* no baseline for the other variants"):
        compared(spec, {"A": Curve(breaks=20), "B": Curve()}, Goal(equal="tokens"), **QUIET)


def test_what_is_left_is_said_once_every_variant_is_known_and_without_what_is_no_step(spec):
    made, _ = session(spec, {"A": Curve(set_up=50.0), "B": Curve()}, Goal(equal="tokens"), pairs=2, **QUIET)
    seen = []
    made.watch = seen.append
    made.run()
    assert [(progress.stage, progress.variant) for progress in seen[:2]] == [(WARMING, "A"), (WARMING, "B")]
    assert {progress.left for progress in seen if progress.stage == "search"} == {None}
    lefts = [progress.left for progress in seen if progress.stage.startswith("round")]
    assert lefts == pytest.approx([160, 120, 120, 80, 80, 40, 40, 0])


@pytest.mark.parametrize("pairs", [1, 2])
def test_one_or_two_pairs_give_estimates_without_intervals(spec, pairs):
    result = compared(spec, {"A": Curve(), "B": Curve(quick=2.0)}, pairs=pairs, **QUIET)
    saved = result.variants[1].saved["seconds"]
    assert (saved.n, saved.low, saved.high) == (pairs, 0.0, math.inf)
    assert saved.values == pytest.approx([2.0] * pairs, rel=0.01)
    assert saved.estimate == pytest.approx(2.0, rel=0.01)


def test_a_parent_that_was_trained_anew_ends_a_comparison(spec):
    made, machine = session(spec, {"A": Curve(), "B": Curve(parents=9.0)}, **QUIET)
    train = machine.train

    def changing(spec, seed, steps):
        machine.curves["B"].parents += 1.0
        return train(spec, seed, steps)

    made.train = changing
    with pytest.raises(UserError, match="B: its parent run has been trained anew"):
        made.run()
