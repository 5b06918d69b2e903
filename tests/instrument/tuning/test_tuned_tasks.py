"""Searches of tasks: by accuracy at labels, and by what it takes to a target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny

from resnetbk.registry.lookup import Registry
from resnetbk_instrument.tuning.quality import minimised, said
from resnetbk_instrument.tuning.ranges import search_spaces

pytest.importorskip("optuna", minversion="4")

TASK = 'corpus = { use = "group-words", group = "S3", length = 8, examples = 100, held_out = 20 }'
TEXT = {"loss": 1.5, "losses": [1.5], "flops": 1e9, "reached": False}
NEAR = {"loss": 0.2, "losses": [0.1, 0.3], "flops": 3e9, "accuracy": 0.75, "reached": False}
EARLY = {"loss": 0.5, "losses": [0.5], "flops": 1e9, "accuracy": 0.8, "reached": True}
LATE = {"loss": 0.1, "losses": [0.1], "flops": 2e9, "accuracy": 0.9, "reached": True}


def test_a_target_comes_first_then_accuracy_and_in_texts_the_loss() -> None:
    assert sorted([NEAR, LATE, EARLY], key=minimised) == [EARLY, LATE, NEAR]
    assert minimised(NEAR) == 0.25
    assert minimised({**NEAR, "accuracy": 1.0}) == 0.0 > minimised(LATE)
    assert minimised(TEXT) == 1.5
    assert minimised({key: TEXT[key] for key in ("loss", "losses")}) == 1.5  # of an older version
    assert [said(record) for record in (TEXT, NEAR, EARLY)] == [
        "loss 1.5000 nats/token", "accuracy 0.7500", "accuracy 0.8000, after 1e+09 FLOPs",
    ]  # fmt: skip
    assert said({**NEAR, "reached": True}) == "accuracy 0.7500, after 1.5e+09 FLOPs"


@pytest.mark.parametrize("target", [False, True])
def test_the_best_trial_is_that_of_the_best_accuracy_or_the_first_at_the_target(
    tmp_path: Path, target: bool
) -> None:
    from resnetbk_instrument.tuning.tune import Search, tune

    keys = {"steps": "steps = 4"}
    if target:  # which most of the rates reach, late
        keys = {"steps": "steps = 12", "more": "evaluate = 1\ntarget_accuracy = 0.215"}
    spec = tiny.write_spec(tmp_path, corpus=TASK, window="window = 8", **keys)
    registry, out = Registry.discover(), tmp_path / "out"
    ranges = ["train.optimizer.lr=0.001,0.01,0.05"]
    (result,) = tune(search_spaces([str(spec)], ranges, registry), Search(trials=4, seed=1), registry, out)
    trials = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    assert len({trial["accuracy"] for trial in trials}) > 1
    assert len({trial["reached"] for trial in trials}) == 1 + target
    best = min(trials, key=lambda trial: (minimised(trial), trial["loss"]))
    assert (result.values, result.accuracy, result.best) == (best["values"], best["accuracy"], said(best))
    assert best["reached"] == target
    if target:
        assert best["tokens"] == min(trial["tokens"] for trial in trials) < 12 * 4 * 8
    else:
        assert result.accuracy == max(trial["accuracy"] for trial in trials)
    assert f"# held-out {result.best}, the best of 4 trials" in result.tuned.read_text()
