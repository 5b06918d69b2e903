"""Comparisons of tasks are about accuracy: in error rates, so that less is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import tiny
from measured import trial

from resnetbk.registry.lookup import Registry
from resnetbk.training.signals import Signals
from resnetbk_instrument.pages.run import _headline
from resnetbk_instrument.results.comparison import Goal
from resnetbk_instrument.session.runner import runner, shared_text

TASK = 'corpus = { use = "group-words", group = "Z2", length = 16, examples = 100, held_out = 20 }'


def test_an_error_rate_is_what_accuracy_lacks() -> None:
    goal = Goal(loss=0.05, unit="error rate")
    measured = trial("a", 0, 100)
    at_task = attrs.evolve(measured, outcome=attrs.evolve(measured.outcome, accuracy=0.75))
    assert goal.loss_of(at_task) == 0.25
    assert Goal(loss=1.0).loss_of(at_task) == measured.outcome.loss


def test_a_training_gives_its_accuracy_and_all_flops_are_counted(tmp_path: Path) -> None:
    trial = tiny.experiment(tmp_path, corpus=TASK, more="evaluate = 1\ntarget_accuracy = 0.01")
    assert shared_text({"a": trial.spec}).unit == "error rate"
    assert shared_text({"a": trial.spec}).ngram_baseline == {}
    with Signals() as signals:
        outcome = runner(Registry.discover(), signals, "cpu")(trial.spec, 0, 3)
    assert outcome.accuracy is not None
    assert 0.2 < outcome.accuracy < 0.8
    assert outcome.costs["tokens"] == 3 * 4 * 16  # the target did not end it
    assert outcome.costs["inference_flops"] > 0


def test_the_page_of_a_run_begins_with_its_accuracy() -> None:
    claim = _headline({"loss": 0.1234, "bits_per_byte": 0.178, "accuracy": 0.9871, "groups": {}}, None)
    assert claim.end == " and accuracy 0.9871 at labels."
    assert (
        _headline({"loss": 0.1234, "bits_per_byte": 0.178, "accuracy": None}, None).end
        == ", 0.178 bits/byte."
    )


@pytest.mark.parametrize(
    ("goal", "unit", "shown"),
    [
        (("--target-accuracy", "0.5"), "error rate", "0.5 error rate"),
        (("--target-loss", "0.7"), "nats/token", "0.7 nats/token"),
    ],
)
def test_the_goal_is_in_the_unit_of_what_was_asked(goal: Any, unit: str, shown: str) -> None:
    from resnetbk_instrument.cli.comparing import Options, _goal, command_line

    options = Options(
        target_loss=float(goal[1]) if "loss" in goal[0] else None,
        target_accuracy=float(goal[1]) if "accuracy" in goal[0] else None,
        equal=None, budget=None, pairs=5, out=None, resume=False, dry_run=False, as_json=False, sets=(),
        reach=8.0, tolerance=0.1, device=None, workers=None, scheduler=None,
    )  # fmt: skip
    made = _goal(options, "error rate")
    assert f"{made.loss:g} {made.unit}" == shown
    assert made.unit == unit
    assert " ".join(goal) in command_line("compare", ["a", "b"], options)
