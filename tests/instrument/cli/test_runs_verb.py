"""`runs`: a table of what was trained, which damaged runs do not hinder."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime

import pytest
import tiny


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs, of which the second is wider and lies deeper."""
    folder = tmp_path_factory.mktemp("two")
    small = {"steps": "steps = 2", "depth": "depth = 1"}
    first = tiny.experiment(folder, **small).train(folder / "runs" / "a")
    second = tiny.experiment(folder, **small, width="width = 24").train(folder / "runs" / "deep" / "b")
    os.utime(first.folder.metrics_file, (1e9, 1e9))
    return folder / "runs", (first, second)


@pytest.fixture
def copied(two, tmp_path):
    shutil.copytree(two[0], tmp_path / "runs")
    return tmp_path / "runs"


def rows(call, folder):
    code, out, err = call("runs", folder, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_each_run_has_its_result_and_what_sets_it_apart(call, two) -> None:
    folder, runs = two
    listed = rows(call, folder)
    assert [row["run"] for row in listed] == [str(folder / "a"), str(folder / "deep" / "b")]
    for row, run in zip(listed, runs, strict=True):
        assert row["damaged"] is None
        assert row["name"] == "tiny"
        assert (row["step"], row["ended"]) == (2, "steps")
        assert (row["loss"], row["bits_per_byte"]) == (run.report.loss, run.report.bits_per_byte)
        assert (row["parameters"], row["seconds"]) == (run.report.parameters, run.report.seconds)
        assert row["differs"] == {"model.width": run.spec.model.width}
    assert datetime.fromisoformat(listed[0]["when"]).timestamp() == 1e9


def test_the_table(call, two, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # no number is cut off
    code, out, err = call("runs", two[0])
    assert (code, err) == (0, "")
    for run, name in zip(two[1], ("a", "deep/b"), strict=True):
        (line,) = (line for line in out.splitlines() if line.startswith(f"{name} ") and "steps" in line)
        assert f"{run.report.loss:.4f}" in line
        assert f"{run.report.parameters:,}" in line
    assert "model.width = 16\n" in out.replace(" \n", "\n")
    assert call("runs", two[0] / "a")[1].splitlines()[1].startswith(". ")


def test_accuracy_has_a_column_where_there_is_a_task(call, copied, monkeypatch) -> None:
    assert "accuracy" not in call("runs", copied)[1]
    task = 'corpus = { use = "group-words", group = "Z2", length = 16, examples = 100, held_out = 20 }'
    run = tiny.experiment(copied.parent, corpus=task, steps="steps = 2").train(copied / "task")
    assert [row["accuracy"] for row in rows(call, copied)] == [None, None, run.report.accuracy]
    heading, *lines = call("runs", copied)[1].splitlines()
    assert heading.split()[6:9] == ["bits/byte", "accuracy", "parameters"]
    of_text, of_task = (next(li for li in lines if li.startswith(name)).split() for name in ("a ", "task "))
    assert of_task[6:8] == [f"{run.report.bits_per_byte:.4f}", f"{run.report.accuracy:.4f}"]
    assert of_text[7] == "-"


def test_runs_is_the_folder_unless_one_is_given(call, two, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(two[0].parent)
    assert len(json.loads(call("runs", "--json")[1])) == 2
    monkeypatch.chdir(tmp_path)
    code, out, err = call("runs")
    assert (code, out) == (2, "")
    assert err == "runs: no such folder; name the one that your runs are in: resnetbk runs DIR\n"
    assert call("runs", tmp_path)[1] == f"no runs in {tmp_path}\n"
    assert rows(call, tmp_path) == []


def test_a_run_that_has_not_ended_has_what_is_known(call, copied) -> None:
    metrics = copied / "a" / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join(lines[:1]))
    row = next(row for row in rows(call, copied) if row["run"] == str(copied / "a"))
    assert (row["step"], row["ended"], row["loss"], row["parameters"]) == (1, None, None, None)
    metrics.unlink()
    row = next(row for row in rows(call, copied) if row["run"] == str(copied / "a"))
    assert (row["step"], row["seconds"], row["name"]) == (None, None, "tiny")
    assert call("runs", copied)[0] == 0


def change(path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"1", b"2", 1))


DAMAGE = {
    "no spec": lambda run: (run / "spec.lock.toml").unlink(),
    "another spec": lambda run: change(run / "spec.lock.toml"),
    "no TOML": lambda run: (run / "spec.lock.toml").write_bytes(b"[\xff"),
    "a changed line": lambda run: change(run / "metrics.jsonl"),
    "a line without end": lambda run: (run / "metrics.jsonl").write_bytes(b"x" * (2 << 20)),
    "no LATEST and no good checkpoint": lambda run: (
        (run / "LATEST").unlink(),
        [path.unlink() for path in run.glob("checkpoints/*/manifest.json")],
    ),
    "a pipe": lambda run: ((run / "metrics.jsonl").unlink(), os.mkfifo(run / "metrics.jsonl")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_a_line_and_hinders_no_other(call, copied, damage, caplog) -> None:
    DAMAGE[damage](copied / "a")
    sound, damaged = rows(call, copied)
    assert (sound["run"], sound["damaged"]) == (str(copied / "deep" / "b"), None)
    assert damaged["run"] == str(copied / "a")
    assert damaged["damaged"].startswith(f"{copied / 'a'}")
    code, out, _ = call("runs", copied)
    assert code == 0
    assert out.splitlines()[-1] == f"damaged: {damaged['damaged']}"
    assert out.count("damaged: ") == 1
