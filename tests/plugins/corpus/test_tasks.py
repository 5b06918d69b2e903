"""What all tasks promise: examples are a function of the seed and their number, runs resume, and mistakes are
refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import resnetbk
from resnetbk.errors import UserError
from resnetbk.kinds import Windows
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint
from resnetbk.training.data import Data

TASKS: dict[str, dict[str, Any]] = {
    "group-words": {"group": "S3", "length": 16},
    "associative-recall": {"pairs": 3, "length": 16},
    "pointer-chase": {"pairs": 4, "queries": 3},
    "needles": {"length": 16, "needles": 3},
    "zipf-skills": {"skills": 8, "bits": 14},
    "facts": {"facts": 4000, "records": 4},
}
"""Small ones, by keys of their tables."""


def built(name: str, **keys: Any) -> Any:
    registry = Registry.discover()
    return registry.load(registry.find("corpus", name))(**TASKS[name], **keys).build()


def spec_of(folder: Path, name: str, **changes: str) -> Path:
    keys = ", ".join(f"{key} = {value!r}" for key, value in TASKS[name].items())
    corpus = f'corpus = {{ use = "{name}", {keys}, examples = 40, held_out = 8 }}'
    window = f"window = {built(name, examples=2, held_out=2).task.length}"
    return tiny.write_spec(folder, **{"corpus": corpus, "window": window, **changes})


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_a_function_of_seed_part_and_number(name: str) -> None:
    few, more = built(name, examples=30, held_out=5), built(name, examples=1100, held_out=9)
    size = few.task.length * 30
    assert more.train[:size] == few.train
    assert np.array_equal(more.task.train[:size], few.task.train)
    assert more.train[: len(few.valid)] != few.valid
    again = built(name, examples=30, held_out=5)
    assert (again.train, again.valid, again.sha256) == (few.train, few.valid, few.sha256)
    assert built(name, examples=30, held_out=5, seed=1).train != few.train
    rows = np.frombuffer(more.train, np.uint8).reshape(1100, -1)
    assert len(np.unique(rows, axis=0)) > 1000  # the second block is not the first one again


@pytest.mark.parametrize("name", TASKS)
def test_every_example_has_as_many_labels_and_their_groups_have_names(name: str) -> None:
    task = built(name, examples=50, held_out=20).task
    for labels, length in ((task.train, task.length), (task.valid, task.valid_length)):
        counts = (labels.reshape(-1, length) > 0).sum(1)
        assert counts[0] > 0
        assert (counts == counts[0]).all()
        assert labels.max() <= 256
    if task.group is not None:
        assert len(task.group) == len(task.valid)
        assert task.group.max() < len(task.groups)


@pytest.mark.parametrize("name", TASKS)
def test_runs_resume_bit_for_bit_with_their_accuracy(tmp_path: Path, name: str) -> None:
    trial = resnetbk.load(spec_of(tmp_path, name, more="save = 1\nevaluate = 3\nkeep = 9"))
    whole = trial.train(tmp_path / "whole")
    again = trial.train(tiny.stopped(tmp_path / "whole", 4, tmp_path / "again"), resume=True)
    first, second = (checkpoint.load(checkpoint.latest(run.folder.path)) for run in (whole, again))
    assert first.model.keys() == second.model.keys()
    assert all(value.equal(second.model[key]) for key, value in first.model.items())
    assert whole.report is not None
    assert again.report is not None
    assert whole.report.accuracy is not None
    assert (again.report.loss, again.report.accuracy) == (whole.report.loss, whole.report.accuracy)
    assert again.report.groups == whole.report.groups
    opened = resnetbk.open_run(again.folder.path).evaluate()
    assert (opened.accuracy, opened.groups) == (whole.report.accuracy, whole.report.groups)
    evaluations = [line for line in whole.folder.metrics() if line["event"] == "evaluation"]
    assert evaluations[-1]["accuracy"] == whole.report.accuracy


@pytest.mark.parametrize("name", TASKS)
def test_windows_and_tokens_that_do_not_fit_are_refused_by_check(
    tmp_path: Path, name: str, call: Any
) -> None:
    path = spec_of(tmp_path, name, window='window = 1000\ntokenizer = "chars"')
    code, _, error = call("check", path)
    assert code == 2
    tokens, windows = error.splitlines()
    assert "data.corpus: labels bytes, and data.tokenizer = 'chars' has other tokens; use bytes" in tokens
    assert "data.corpus: has examples of" in windows
    assert windows.endswith("not 1000")


def test_the_target_accuracy_ends_a_run(tmp_path: Path) -> None:
    easy = 'corpus = { use = "group-words", group = "Z2", length = 2, examples = 500, held_out = 20 }'
    more = "evaluate = 10\ntarget_accuracy = 1.0"
    changes = {"corpus": easy, "window": "window = 2", "steps": "steps = 400", "batch": "batch = 16"}
    run = resnetbk.load(tiny.write_spec(tmp_path, **changes, more=more)).train(tmp_path / "run")
    assert run.report is not None
    assert (run.report.stopped, run.report.accuracy) == ("target", 1.0)
    assert run.report.steps < 400
    with pytest.raises(UserError, match="needs evaluate"):
        resnetbk.load(tiny.write_spec(tmp_path, **changes, more="target_accuracy = 0.9"))


def test_a_longer_held_out_part_measures_a_trained_run(tmp_path: Path, call: Any) -> None:
    resnetbk.load(spec_of(tmp_path, "group-words")).train(tmp_path / "run")
    code, out, _ = call("eval", tmp_path / "run", "--set", "data.corpus.valid_length=40")
    assert code == 0
    assert "held-out examples of group-words: 8 of 40 tokens" in out
    for line in ("a constant guess", "positions 33 to 40"):
        assert line in out
    code, out, _ = call("train", tmp_path / "tiny.toml", "--out", tmp_path / "printed")
    assert code == 0
    assert "accuracy" in out
    assert "It goes on from" not in out


def test_the_task_of_the_documents_works(tmp_path: Path) -> None:
    document = Path(__file__).parents[3] / "docs" / "tasks.md"
    code = document.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, Any] = {"__name__": "copy_task"}
    exec(code, namespace)
    text = namespace["Copy"]().build()
    data = Data.of(text, tiny.experiment(tmp_path, window="window = 8").spec.data)
    batch = data.batch(Windows(np.array([0, 80]), 8), torch.device("cpu"))
    assert torch.equal(batch.targets[:, 7], batch.inputs[:, 0])
    assert (batch.targets[:, :7] < 0).all()
