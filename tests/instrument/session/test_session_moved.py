"""A machine that does not hold still during a comparison: which rounds count, and with what."""

from __future__ import annotations

import pytest
from simulated import QUIET, Curve, session

from resnetbk.errors import UserError
from resnetbk_instrument.pages.comparison import comparison_page
from resnetbk_instrument.results.comparison import Goal
from resnetbk_instrument.results.conclude import conclude, thrown_out
from resnetbk_instrument.results.costs import TRAINING
from resnetbk_instrument.session.journal import Journal


def test_rounds_in_which_the_machine_moved_are_repeated_and_stay_in_the_journal(spec):
    made, _ = session(spec, {"A": Curve(), "B": Curve()}, pairs=3, **QUIET)
    speeds = iter([0.2] * 14 + [0.3] * 3 + [0.2] * 1000)
    made.calibrate = lambda: next(speeds)
    said = []
    made.say = said.append
    made.run()
    result = conclude(made.plan, made.journal, made.refused)
    assert result.thrown_out == 1
    assert said[1:] == ["round 2 is thrown out: the machine's speed changed by 50%"]
    assert len([trial for trial in result.trials if not trial.kept]) == 4
    assert result.variants[1].saved["seconds"].n == 3


@pytest.mark.parametrize("cost", [cost.key for cost in TRAINING if cost.exact])
def test_where_no_time_is_asked_for_a_round_in_which_the_machine_moved_counts_without_its_times(
    spec, tmp_path, cost
):
    journal = Journal(tmp_path)
    made, _ = session(spec, {"A": Curve(), "B": Curve()}, Goal(equal=cost), pairs=3, journal=journal, **QUIET)
    speeds = iter([0.2] * 12 + [0.3] * 3 + [0.2] * 1000)
    made.calibrate = lambda: next(speeds)
    said = []
    made.say = said.append
    made.run()
    assert said[1:] == ["round 2 counts, but not its seconds: the machine's speed changed by 50%"]
    made.journal = Journal(tmp_path)
    result = conclude(made.plan, made.journal, made.refused)
    assert (result.thrown_out, result.untimed()) == (0, 1)
    for variant in result.variants:
        assert variant.loss.n == variant.spent[cost].n == 3
        assert variant.spent["seconds"].n == variant.spent["cpu_seconds"].n == 2
    assert {trial.pair for trial in result.trials if trial.cost("seconds") == 0} == {1}
    page = comparison_page(result)
    assert "3 rounds, 1 without times" in page
    assert page.count("<b>without times</b>") == 2


def test_a_single_calibration_that_is_off_throws_no_round_out(spec):
    made, _ = session(spec, {"A": Curve(), "B": Curve()}, pairs=3, **QUIET)
    speeds = iter(([0.2] * 5 + [0.3]) * 1000)
    made.calibrate = lambda: next(speeds)
    made.run()
    assert thrown_out(made.journal.trials) == 0
    assert {speed for trial in made.journal.trials for speed in trial.speed} == {0.2}


def test_a_machine_that_never_holds_still_ends_after_as_many_repeats_as_pairs(spec):
    made, _ = session(spec, {"A": Curve(), "B": Curve()}, pairs=3, **QUIET)
    speeds = iter(range(1, 1000))
    made.calibrate = lambda: float(2 ** (next(speeds) % 2))
    with pytest.raises(UserError, match=r"no round counts; .* speed changed by 100%: .* --tolerance"):
        made.run()
    assert thrown_out(made.journal.trials) <= 2 * 3
