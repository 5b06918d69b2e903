"""The n-gram rows that the instrument adds to what core's verbs print."""

from __future__ import annotations

import tiny


def test_train_and_eval_show_what_counting_reaches(call, tmp_path):
    code, trained, _ = call(
        "train", tiny.write_spec(tmp_path), "--out", tmp_path / "run", "--set", "train.steps=2"
    )
    assert code == 0
    code, evaluated, _ = call("eval", tmp_path / "run")
    assert code == 0
    for gram in ("unigram counts", "bigram counts", "7-gram counts"):
        assert gram in trained
        assert gram in evaluated
