"""`train.evaluate_tokens`: evaluations during training read the first tokens alone, the last one all."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

import resnetbk
from resnetbk.errors import UserError
from resnetbk.kinds import Text
from resnetbk.runs import checkpoint
from resnetbk.training.data import Data
from resnetbk.training.learner import Learner
from resnetbk.training.signals import Interrupted

KEYS = "evaluate = 4\nevaluate_tokens = 40"


def test_evaluations_during_training_read_whole_windows_and_the_last_one_all(tmp_path):
    run = tiny.experiment(tmp_path, more=KEYS).train(tmp_path / "run")
    lines = [line for line in run.folder.metrics() if line["event"] == "evaluation"]
    assert [(line["step"], line["tokens"]) for line in lines] == [(4, 32), (8, 32)]
    again = resnetbk.open_run(tmp_path / "run")
    data = again.data()
    whole = again.evaluate()
    assert whole.tokens == len(data.valid) - 1
    assert run.report.loss == whole.loss
    assert run.report.loss != lines[-1]["loss"]
    first = again.evaluate(data.beginning(40, 16))
    assert (first.loss, first.bits_per_byte) == (lines[-1]["loss"], lines[-1]["bits_per_byte"])
    assert first.loss == pytest.approx(again.losses(bytes(data.text.valid[:33])).mean(), abs=1e-6)


def test_it_trains_what_it_trains_without(tmp_path):
    capped = tiny.experiment(tmp_path, more=KEYS).train(tmp_path / "capped").report
    plain = tiny.experiment(tmp_path, more="evaluate = 4").train(tmp_path / "plain").report
    assert capped.loss == plain.loss


def test_the_best_checkpoint_and_the_target_go_by_the_first_tokens(tmp_path):
    more = f"{KEYS}\nkeep = 1\ntarget = 5.0"
    run = tiny.experiment(tmp_path, steps="steps = 40", more=more).train(tmp_path / "run")
    lines = [line for line in run.folder.metrics() if line["event"] == "evaluation"]
    assert run.report.stopped == "target"
    assert lines[-1]["loss"] <= 5.0 < min([line["loss"] for line in lines[:-1]], default=6.0)
    assert checkpoint.available(run.folder.path)[-1].name == checkpoint.name(lines[-1]["step"])


def test_interrupted_in_the_last_evaluation_it_is_done_on_resuming(tmp_path, monkeypatch):
    trial = tiny.experiment(tmp_path, more=KEYS)
    whole = trial.train(tmp_path / "whole").report.loss
    measure = Learner.measure

    def interrupted(self, signals=None, *, most=0):
        if not most:
            raise Interrupted(15, "in the last evaluation")
        return measure(self, signals, most=most)

    monkeypatch.setattr(Learner, "measure", interrupted)
    with pytest.raises(Interrupted):
        trial.train(tmp_path / "run")
    monkeypatch.undo()
    assert trial.train(tmp_path / "run", resume=True).report.loss == whole


def test_of_a_task_whole_examples(tmp_path):
    task = 'corpus = { use = "group-words", group = "Z2", length = 16, examples = 100, held_out = 20 }'
    run = tiny.experiment(tmp_path, corpus=task, more=KEYS).train(tmp_path / "run")
    lines = [line for line in run.folder.metrics() if line["event"] == "evaluation"]
    assert [line["tokens"] for line in lines] == [32, 32]
    data = run.data()
    assert data.beginning(1, 16).held_out_window(16) == len(data.beginning(1, 16).valid)
    assert data.beginning(10**9, 16) is data


def test_bits_are_of_the_bytes_of_the_first_tokens(tmp_path):
    spec = tiny.experiment(tmp_path, window='tokenizer = "chars"\nwindow = 2').spec.data
    data = Data.of(Text("aäb€".encode() * 9, "aäb€aäb€".encode(), "0" * 64), spec)
    part = data.beginning(3, 2)
    assert part.valid.tolist() == data.valid[:3].tolist()
    assert part.held_out_bytes == len("äb".encode())
    numbers = np.arange(9, dtype=np.uint16)
    ids = Data.of(
        Text(b"", b"", "0" * 64, tokens=(numbers, numbers)),
        tiny.experiment(tmp_path, window='tokenizer = { use = "ids", vocabulary = 9 }').spec.data,
    )
    assert ids.beginning(4, 2).held_out_bytes == len(b" 1 2 3 4")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("evaluate_tokens = 40", "needs evaluate, such as evaluate = 100"),
        ("evaluate = 4\nevaluate_tokens = 15", "15 tokens are less than data.window; give a multiple of 16"),
        ("evaluate = 4\nevaluate_tokens = -1", "evaluate_tokens"),
    ],
)
def test_nonsense_is_refused(tmp_path, more, says):
    with pytest.raises(UserError, match=says) as caught:
        tiny.experiment(tmp_path, more=more)
    assert "tiny.toml:" in str(caught.value)
