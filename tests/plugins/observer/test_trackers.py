"""Trackers: the numbers that they get, from the library itself where it is installed."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
import tiny

from resnetbk.errors import UserError
from resnetbk.hooks import EvaluationReport, StepReport
from resnetbk.training.observers import manager
from resnetbk_plugins.observer.csv import CSV
from resnetbk_plugins.observer.tensorboard import TensorBoard
from resnetbk_plugins.observer.trackio import Trackio
from resnetbk_plugins.observer.wandb import WandB

EVALUATION = EvaluationReport(
    2, 2.25, 3.25, 1000, 0.5, True, (1.0, 0.5), (0.0, 0.5, 0.5), accuracy=0.5, groups={"1 hop": 0.75}
)
NAMES = {"loss", "rate", "gradient_norm", "tokens", "seconds", "flops", "layers", "penalty ponder"}


def step(number: int, loss: float = 2.5) -> StepReport:
    spent = number / 600
    return StepReport(number, 600, spent, loss, {"ponder": 0.01}, 0.02, 1.5, 512, 0.1, (1.0, 0.5), 1e9)


def spec(folder: Path) -> object:
    return tiny.experiment(folder).spec


def test_csv_has_a_row_for_each_report(tmp_path) -> None:
    hook = manager([CSV().build(folder=tmp_path, spec=None)]).hook
    hook.resnetbk_step(report=step(1))
    hook.resnetbk_step(report=step(2))
    hook.resnetbk_evaluated(report=EVALUATION)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2", "2"]
    assert (rows[0]["train/loss"], rows[0]["train/layers"], rows[0]["valid/loss"]) == ("2.5", "1.5", "")
    assert (rows[2]["train/loss"], rows[2]["valid/loss"], rows[2]["valid/accuracy"]) == ("", "2.25", "0.5")


def test_csv_of_a_run_that_goes_on_has_each_step_once(tmp_path) -> None:
    for steps in ([1, 2, 3], [3, 4]):
        hook = manager([CSV().build(folder=tmp_path, spec=None)]).hook
        for number in steps:
            hook.resnetbk_step(report=step(number, loss=float(len(steps))))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [(row["step"], row["train/loss"]) for row in rows] == [
        ("1", "3.0"), ("2", "3.0"), ("3", "2.0"), ("4", "2.0"),
    ]  # fmt: skip


def test_a_run_has_a_csv_beside_its_other_observers(tmp_path) -> None:
    observe = 'observe = ["jsonl", "csv"]'
    run = tiny.experiment(tmp_path, steps="steps = 3", observe=observe).train(tmp_path / "run")
    lines = (run.folder.path / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "1", "2", "3", "3"]
    assert len(run.folder.metrics()) == 5


def test_tensorboard_has_every_number_and_the_steps_that_are_done_again_once(tmp_path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in ([1, 2, 3], [3]):
        hook = manager([TensorBoard().build(folder=tmp_path, spec=None)]).hook
        for number in steps:
            hook.resnetbk_step(report=step(number, loss=float(len(steps))))
        hook.resnetbk_evaluated(report=EVALUATION)
        hook.resnetbk_interrupted(reason="")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {f"train/{name}" for name in NAMES} < set(events.Tags()["scalars"])
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 3), (2, 3), (3, 1)]
    assert events.Scalars("valid/accuracy 1 hop")[0].value == 0.75


def test_wandb_offline_leaves_a_run_to_be_synced(tmp_path, capfd) -> None:
    wandb = pytest.importorskip("wandb")
    hook = manager([WandB(mode="offline").build(folder=tmp_path, spec=spec(tmp_path))]).hook
    hook.resnetbk_check(spec=None)
    hook.resnetbk_step(report=step(1))
    hook.resnetbk_step(report=step(2))  # with which the first one counts
    assert wandb.run.offline
    assert wandb.run.config["model"]["width"] == 16
    assert wandb.run.summary["train/loss"] == 2.5
    assert wandb.run.id == (tmp_path / "wandb-id").read_text()
    hook.resnetbk_interrupted(reason="")
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert capfd.readouterr().out == ""  # where results are


def test_trackio_has_the_numbers_in_its_own_database(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    pytest.importorskip("trackio")
    hook = manager([Trackio(project="p").build(folder=tmp_path / "run", spec=spec(tmp_path))]).hook
    hook.resnetbk_check(spec=None)
    hook.resnetbk_step(report=step(1))
    hook.resnetbk_finished(run=None)
    from trackio.sqlite_storage import SQLiteStorage

    logs = SQLiteStorage.get_logs("p", "run")
    assert [entry["train/loss"] for entry in logs if "train/loss" in entry] == [2.5]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("observer", [TensorBoard(), WandB(), Trackio()])
def test_one_whose_library_is_missing_says_how_to_install_it(observer, tmp_path, monkeypatch) -> None:
    name = type(observer).__name__.lower()
    monkeypatch.setitem(sys.modules, name, None)
    hook = manager([observer.build(folder=tmp_path, spec=None)]).hook
    with pytest.raises(UserError, match=rf'pip install "resnetbk\[{name}\]"'):
        hook.resnetbk_check(spec=None)


def test_one_that_fails_leaves_the_run_alone(tmp_path, capfd) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            raise ConnectionError("no network")

    from resnetbk_plugins.observer.wandb import Reporter

    reporter = Reporter(tmp_path, spec(tmp_path), project="p", mode="online")
    reporter.module = Broken()
    hook = manager([reporter]).hook
    for number in (1, 2):
        hook.resnetbk_step(report=step(number))
    assert (
        capfd.readouterr().err.count("failed in resnetbk_step (ConnectionError: no network); the run goes on")
        == 1
    )
