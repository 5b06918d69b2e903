"""A comparison that was interrupted, or goes on with other pairs, on a simulated machine."""

from __future__ import annotations

import attrs
import pytest
from simulated import QUIET, TO_LOSS, Curve, session

from resnetbk.training.signals import Interrupted
from resnetbk_instrument.results.comparison import Goal
from resnetbk_instrument.results.conclude import conclude
from resnetbk_instrument.session.journal import Journal


@pytest.mark.parametrize("goal", [TO_LOSS, Goal(equal="seconds"), Goal(equal="tokens", budget=40000.0)])
def test_an_interrupted_comparison_goes_on_as_if_it_had_not_been(spec, tmp_path, goal):
    curves = {"A": Curve(), "B": Curve(seconds=0.13), "C": Curve(breaks=200)}
    whole, machine = session(spec, curves, goal, pairs=2, **QUIET)
    whole.run()
    expected = conclude(whole.plan, whole.journal, whole.refused)
    for stop in range(len(machine.trained)):
        folder = tmp_path / str(stop)
        folder.mkdir()
        made, machine = session(spec, curves, goal, pairs=2, journal=Journal(folder), **QUIET)
        train = machine.train

        def interrupted(spec, seed, steps, machine=machine, train=train, stop=stop):
            if len(machine.trained) == stop:
                raise Interrupted(2, "")
            return train(spec, seed, steps)

        made.train = interrupted
        with pytest.raises(Interrupted):
            made.run()
        before = len(made.journal.trials)
        again, machine = session(spec, curves, goal, pairs=2, journal=Journal(folder), **QUIET)
        again.run()
        result = conclude(again.plan, again.journal, again.refused)
        assert [attrs.astuple(variant) for variant in result.variants] == [
            attrs.astuple(variant) for variant in expected.variants
        ]
        known = len([trial for trial in again.journal.trials if trial.kept])
        assert len(Journal(folder).trials) == len(again.journal.trials) >= before
        # nothing but a round that was under way is trained again
        assert len(machine.trained) <= known - before + 3 * len(curves) + 6


def test_fewer_pairs_leave_out_a_round_that_was_interrupted(spec, tmp_path):
    curves = {"A": Curve(), "B": Curve(quick=2.0)}
    made, machine = session(spec, curves, pairs=3, journal=Journal(tmp_path), **QUIET)
    train = machine.train

    def interrupted(spec, seed, steps):
        if seed == made.plan.seed(2):
            raise Interrupted(2, "")
        return train(spec, seed, steps)

    made.train = interrupted
    with pytest.raises(Interrupted):
        made.run()
    made.train = train
    made.run()
    whole = conclude(made.plan, made.journal, made.refused)
    made.journal.trials.pop()
    fewer, _ = session(spec, curves, pairs=2, journal=made.journal, **QUIET)
    fewer.run()
    result = conclude(fewer.plan, fewer.journal, fewer.refused)
    assert (whole.variants[1].saved["flops"].n, result.variants[1].saved["flops"].n) == (3, 2)
    assert {trial.pair for trial in result.trials} == {-1, 0, 1}


def test_more_pairs_are_added_to_a_finished_comparison(spec, tmp_path):
    curves = {"A": Curve(), "B": Curve(quick=2.0)}
    made, _ = session(spec, curves, pairs=2, journal=Journal(tmp_path), **QUIET)
    made.run()
    more, machine = session(spec, curves, pairs=4, journal=Journal(tmp_path), **QUIET)
    more.run()
    assert len(machine.trained) == 2 + 2 * 4  # warm-up, and two rounds of two budgets and two variants
    assert conclude(more.plan, more.journal, more.refused).variants[1].saved["flops"].n == 4
