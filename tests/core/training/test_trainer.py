"""Runs: they learn, they resume bit for bit, and they stop when they should, with everything saved."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal

import pytest
import tiny
import torch

import resnetbk
from resnetbk.errors import NumericError, StorageError, UserError
from resnetbk.runs import checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.data import Data
from resnetbk.training.experiment import Experiment
from resnetbk.training.signals import NOTED, Interrupted, Signals
from resnetbk.training.trainer import Trainer


def losses(run) -> list[tuple[int, float]]:
    return [(m["step"], m["loss"]) for m in run.folder.metrics() if m["event"] == "step"]


def same_weights(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.model.parameters(), b.model.parameters(), strict=True))


def test_a_run_learns_and_its_folder_suffices(tmp_path):
    run = tiny.experiment(tmp_path, steps="steps = 60").train(tmp_path / "run")
    assert run.report.loss < math.log(256) - 1.5
    assert [step for step, _ in losses(run)] == list(range(1, 61))
    again = resnetbk.open_run(tmp_path / "run")
    assert same_weights(run, again)
    assert again.evaluate().loss == run.report.loss
    moved = shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    assert b"".join(resnetbk.open_run(moved).generate("the ", 8)) == b"".join(run.generate("the ", 8))


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({}, (1, 7, 8, 15)),
        ({"optimizer": 'optimizer = "adamw"', "channel": 'channel = { use = "moe", experts = 3 }'}, (1, 15)),
        (
            {"embedding": 'embedding = { use = "ngram-hash", rows = 64 }', "precision": 'precision = "bf16"'},
            (7, 15),
        ),
        ({"mixer": 'mixer = "attention"', "more": 'gradient = { use = "backprop", accumulate = 2 }'}, (8,)),
    ],
)
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, changes, stops):
    """Saved at every step, so that each of them is a place to go on from; an epoch has 29 windows."""
    more = changes.get("more", "") + "\nsave = 1\nkeep = 100\nevaluate = 4"
    trial = tiny.experiment(tmp_path, **{**changes, "more": more, "steps": "steps = 18"})
    whole = trial.train(tmp_path / "whole")
    for stop in stops:
        folder = tiny.stopped(whole.folder.path, stop, tmp_path / f"stopped-{stop}")
        resumed = trial.train(folder, resume=True)
        assert same_weights(whole, resumed)
        assert losses(whole) == losses(resumed)
        assert whole.report.loss == resumed.report.loss


def test_a_finished_run_resumes_to_its_result_without_training(tmp_path):
    trial = tiny.experiment(tmp_path)
    first = trial.train(tmp_path / "run")
    again = trial.train(tmp_path / "run", resume=True)
    assert again.report.loss == first.report.loss
    assert again.report.steps == first.report.steps == 8
    assert losses(again) == losses(first)


def test_resume_refuses_another_spec_and_names_the_key(tmp_path):
    tiny.experiment(tmp_path).train(tmp_path / "run")
    with pytest.raises(UserError, match=r"train\.batch: 4 -> 5"):
        tiny.experiment(tmp_path, batch="batch = 5").train(tmp_path / "run", resume=True)


def test_resume_with_more_steps_says_how_to_start_from_the_run(tmp_path):
    run = tiny.experiment(tmp_path).train(tmp_path / "run")
    with pytest.raises(UserError, match=r"train\.steps: 8 -> 12") as caught:
        tiny.experiment(tmp_path, steps="steps = 12").train(tmp_path / "run", resume=True)
    (said,) = re.findall("without --resume, with --set '(.*)', NAME", str(caught.value.mistakes[-1]))
    spec = tiny.write_spec(tmp_path, steps="steps = 12")
    more = resnetbk.load(spec, sets=[said.replace("NAME", "run")]).train(tmp_path / "more")
    first = checkpoint.load(tmp_path / "more" / "checkpoints" / "step-000000").model
    assert all(torch.equal(first[name], weight) for name, weight in run.model.state_dict().items())
    assert more.report.steps == 12


def test_resume_refuses_another_text(tmp_path):
    trial = tiny.experiment(tmp_path)
    trial.train(tmp_path / "run")
    (tmp_path / "corpus.txt").write_text("something else entirely. " * 200)
    with pytest.raises(UserError, match="another text"):
        trial.train(tmp_path / "run", resume=True)


def test_a_folder_in_use_is_not_overwritten(tmp_path):
    trial = tiny.experiment(tmp_path)
    trial.train(tmp_path / "run")
    with pytest.raises(UserError, match="--resume"):
        trial.train(tmp_path / "run")


def test_a_run_that_cannot_start_leaves_no_folder(tmp_path):
    trial = tiny.experiment(tmp_path, corpus='corpus = { use = "text", path = "missing.txt" }')
    with pytest.raises(UserError, match=r"missing\.txt"):
        trial.train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_target_ends_the_run_early(tmp_path):
    run = tiny.experiment(tmp_path, steps="steps = 500", more="target = 5.0\nevaluate = 5").train(
        tmp_path / "run"
    )
    assert run.report.stopped == "target"
    assert run.report.steps < 500
    assert run.report.loss <= 5.0


def test_a_budget_in_seconds_ends_the_run(tmp_path):
    run = tiny.experiment(tmp_path, steps="seconds = 0.5").train(tmp_path / "run")
    assert run.report.stopped == "seconds"
    assert run.report.seconds >= 0.5
    assert run.report.steps >= 1  # on a busy machine the first may take as long


def trainer_of(tmp_path, **changes: str) -> Trainer:
    trial = tiny.experiment(tmp_path, **changes)
    return Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / "run"))


def spoil(trainer: Trainer, *steps: int) -> None:
    """Makes the loss of these steps (from 0) not a number."""
    honest = trainer.learner.strategy.gradients

    def gradients(step, batch, objective):
        result = honest(step, batch, objective)
        if step in steps:
            next(iter(trainer.learner.parameters)).grad.fill_(math.nan)
        return result

    trainer.learner.strategy.gradients = gradients


def test_a_bad_gradient_stops_before_the_update(tmp_path):
    trainer = trainer_of(tmp_path)
    spoil(trainer, 3)
    with pytest.raises(NumericError, match="step 4"):
        trainer.run(Signals())
    saved = checkpoint.load(checkpoint.latest(trainer.folder.path))
    assert saved.state["step"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in saved.model.values())
    assert all(torch.isfinite(p).all() for p in trainer.learner.parameters)


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_bad_gradient_can_be_passed_over(tmp_path, policy):
    trainer = trainer_of(tmp_path, more=f'nonfinite = "{policy}"')
    spoil(trainer, 2, 5)
    report = trainer.run(Signals())
    assert report.steps == 8
    rates = [m["rate"] for m in trainer.folder.metrics() if m["event"] == "step"]
    assert [rate == 0 for rate in rates] == [i in (2, 5) for i in range(8)]
    assert math.isfinite(report.loss)


@pytest.mark.parametrize("more", ["", "\naverage = 0.9"], ids=["plain", "averaged"])
def test_rollback_goes_back_to_the_saved_weights(tmp_path, more):
    """Those that are trained, even where a checkpoint's model has their averages."""
    trainer = trainer_of(tmp_path, more='nonfinite = "rollback"\nsave = 3' + more)
    spoil(trainer, 4)
    for _ in range(3):
        trainer._step()
    trainer.save()
    saved = {name: tensor.clone() for name, tensor in trainer.learner.model.state_dict().items()}
    trainer._step()
    assert any(not torch.equal(saved[n], t) for n, t in trainer.learner.model.state_dict().items())
    trainer._step()
    assert all(torch.equal(saved[n], t) for n, t in trainer.learner.model.state_dict().items())
    assert trainer.learner.step == 5


def test_it_gives_up_when_every_step_is_bad(tmp_path):
    trainer = trainer_of(tmp_path, steps="steps = 200", more='nonfinite = "skip"')
    spoil(trainer, *range(200))
    with pytest.raises(NumericError, match="step 101"):
        trainer.run(Signals())


@pytest.fixture
def heard():
    """Signals as in a terminal: a job in the background is started with SIGINT ignored."""
    before = {signum: signal.signal(signum, signal.SIG_DFL) for signum in NOTED}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", NOTED)
def test_a_signal_saves_and_resume_finishes(heard, tmp_path, signum):
    trial = tiny.experiment(tmp_path)
    trainer = Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / "run"))
    honest = trainer.learner.selector.select

    def select(turn):
        if turn.step == 4:
            os.kill(os.getpid(), signum)
        return honest(turn)

    trainer.learner.selector.select = select
    with Signals() as signals, pytest.raises(Interrupted) as caught:
        trainer.run(signals)
    assert caught.value.exit_code == 128 + signum
    assert checkpoint.load(checkpoint.latest(trainer.folder.path)).state["step"] == 5
    again = Trainer(trial.spec, trial.registry, trainer.folder)
    again.resume()
    whole = trial.train(tmp_path / "whole")
    assert again.run(Signals()).loss == whole.report.loss


def test_the_whole_held_out_part_is_measured_once(tmp_path):
    data = Data.load(tiny.experiment(tmp_path).spec.data)
    batches = list(data.held_out(16, 3, torch.device("cpu")))
    targets = torch.cat([batch.targets.flatten() for batch in batches])
    assert targets.tolist() == data.valid[1:].tolist()
    inputs = torch.cat([batch.inputs.flatten() for batch in batches])
    assert inputs.tolist() == data.valid[:-1].tolist()
    assert data.held_out_bytes == len(data.text.valid) - 1


def test_the_loss_does_not_depend_on_the_training_batch(tmp_path):
    run = tiny.experiment(tmp_path).train(tmp_path / "run")
    other = resnetbk.open_run(tmp_path / "run", sets=["train.batch=7"])
    assert other.evaluate().loss == run.report.loss


def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path):
    tiny.experiment(tmp_path).train(tmp_path / "run")
    weights = next((tmp_path / "run" / "checkpoints").glob("*/model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(StorageError, match=r"model\.safetensors") as caught:
        resnetbk.open_run(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_checkpoints_kept_are_the_last_and_the_best(tmp_path):
    run = tiny.experiment(tmp_path, more="save = 1\nkeep = 2\nevaluate = 3").train(tmp_path / "run")
    names = {path.name for path in checkpoint.available(run.folder.path)}
    evaluations = [m for m in run.folder.metrics() if m["event"] == "evaluation"]
    best = min(evaluations, key=lambda m: m["loss"])["step"]
    assert names == {checkpoint.name(step) for step in (7, 8, best)}


def test_the_library_is_as_short_as_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = resnetbk.load(tiny.write_spec(tmp_path))
    assert isinstance(experiment, Experiment)
    assert experiment.train().folder.path.as_posix() == "runs/tiny"
    assert experiment.train().folder.path.as_posix() == "runs/tiny-2"


def test_a_batch_of_more_windows_than_there_are_places_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"train.batch: 100000000 windows a step, and this corpus has"):
        tiny.experiment(tmp_path, batch="batch = 100000000").train(tmp_path / "run")
    assert not (tmp_path / "run").exists()
