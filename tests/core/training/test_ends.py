"""How runs end that do not end well: everything good is kept, and the word about it is one line."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import save_file

from resnetbk.cli import _run
from resnetbk.errors import NumericError, UserError
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.spec.read import read
from resnetbk.training.experiment import Experiment
from resnetbk.training.learner import Learner
from resnetbk.training.signals import Signals
from resnetbk.training.trainer import Trainer

PLUGIN = """
schema = 1
[observer.rude]
use = "rude.parts:Rude"
summary = "ends the program at step 3"
[sequence-mixer.rude]
use = "rude.parts:RudeMixer"
summary = "ends the program when built"
provides = ["causal"]
[data-selector.outside]
use = "rude.parts:Outside"
summary = "chooses windows that are not there"
"""
PARTS = """
import sys
import attrs
import numpy as np
from resnetbk.hooks import hookimpl
from resnetbk.kinds import Windows
class Watcher:
    @hookimpl
    def resnetbk_step(self, report):
        if report.step == 3:
            sys.exit(0)
@attrs.frozen
class Rude:
    def build(self, *, folder, spec): return Watcher()
@attrs.frozen
class RudeMixer:
    def build(self, *, width, depth): sys.exit(0)
class Chooser:
    def select(self, turn): return Windows(np.array([-5]), 8)
    def state(self): return {}
@attrs.frozen
class Outside:
    def build(self, **given): return Chooser()
"""


@pytest.fixture
def rude(fake_plugin):
    fake_plugin("rude", manifest=PLUGIN, modules={"parts": PARTS})


def test_a_killed_run_resumes_from_its_first_moment(tmp_path):
    """Without any checkpoint asked for, kill -9 loses the steps, not the run."""
    spec = tiny.write_spec(tmp_path, steps="steps = 100000")
    code = "import sys; from resnetbk.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "train", str(spec), "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        until = time.monotonic() + 60
        while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
    assert checkpoint.load(checkpoint.latest(RunFolder.open(tmp_path / "run").path)).state["step"] == 0
    trial = tiny.experiment(tmp_path, steps="steps = 100000")
    trainer = Trainer(trial.spec, trial.registry, RunFolder.open(tmp_path / "run"))
    trainer.resume()
    trainer._step()
    assert trainer.learner.step == 1


def test_what_was_trained_is_saved_before_it_is_measured(tmp_path, monkeypatch):
    trial = tiny.experiment(tmp_path)
    trainer = Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / "run"))
    monkeypatch.setattr(trainer.learner, "measure", lambda signals, most: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.run(Signals())
    assert checkpoint.load(checkpoint.latest(trainer.folder.path)).state["step"] == 8


def test_what_was_saved_before_it_was_measured_is_not_written_twice(tmp_path, monkeypatch):
    written = []

    def count(tensors, path, **more):
        written.append(f"{path.parent.name} {path.stem}")
        save_file(tensors, path, **more)

    monkeypatch.setattr(checkpoint, "save_file", count)
    run = tiny.experiment(tmp_path, more="evaluate = 5\nsave = 5").train(tmp_path / "run")
    steps = [f".tmp-step-00000{step} {part}" for step in (0, 5, 8) for part in ("model", "optimizer")]
    assert written == steps
    last = checkpoint.load(checkpoint.latest(run.folder.path)).state
    assert (last["best"], last["evaluation_due"]) == (run.report.loss, False)


def test_measuring_changes_nothing_of_what_is_drawn_at_random(tmp_path, monkeypatch):
    learner = Learner(tiny.experiment(tmp_path).spec)
    monkeypatch.setattr("resnetbk.training.learner.evaluate", lambda *_, **__: torch.rand(3))
    before = torch.get_rng_state()
    assert len(learner.measure()) == 3
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
def test_a_weight_that_is_not_finite_is_never_saved(tmp_path, wrong):
    trial = tiny.experiment(tmp_path, more="save = 1\nkeep = 9")
    trainer = Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / "run"))
    honest = trainer.learner.optimizer.update

    def update(step, progress):
        rate = honest(step, progress)
        if step == 4:
            trainer.learner.parameters[0].data.view(-1)[1] = wrong
        return rate

    trainer.learner.optimizer.update = update
    with pytest.raises(NumericError, match="not finite"):
        trainer.run(Signals())
    assert checkpoint.latest(trainer.folder.path).name == checkpoint.name(4)


def test_a_model_of_nan_is_no_success(tmp_path, capfd):
    spec = tiny.write_spec(tmp_path, optimizer='optimizer = { use = "adamw", lr = 1e38 }', steps="steps = 1")
    assert _run(["train", str(spec), "--out", str(tmp_path / "run")]) == 3
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_an_observer_cannot_end_a_run(rude, tmp_path, capfd):
    spec = tiny.write_spec(tmp_path, observe='observe = ["rude", "jsonl"]')
    run = Experiment(read(spec, Registry.discover()), Registry.discover()).train(tmp_path / "run")
    assert run.report.steps == 8
    assert "rude" in capfd.readouterr().err


def test_a_component_cannot_end_the_program(rude, tmp_path, capfd):
    spec = tiny.write_spec(tmp_path, mixer='mixer = "rude"')
    assert _run(["train", str(spec), "--out", str(tmp_path / "run")]) == 2
    told = capfd.readouterr().err
    assert "model.mixer: 'rude' of plugin rude 1.0 cannot be built: SystemExit: 0" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_windows_outside_the_text_are_refused(rude, tmp_path):
    trial = tiny.experiment(tmp_path, selector='selector = "outside"')
    with pytest.raises(UserError, match=r"data\.selector: chose a window at -5"):
        trial.train(tmp_path / "run")


def test_a_failed_start_leaves_the_users_own_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    trial = tiny.experiment(tmp_path, corpus='corpus = { use = "text", path = "missing.txt" }')
    with pytest.raises(UserError):
        trial.train(tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    trial = tiny.experiment(tmp_path)
    trial.train(tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    trial.train(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_names_that_look_like_numbered_runs_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.experiment(tmp_path, name='name = "gpt-2"').train()
    first = tiny.experiment(tmp_path, name='name = "gpt"')
    made = first.train()
    assert first.train(resume=True).folder == made.folder


def test_a_checkpoint_of_another_shape_is_one_line(tmp_path, capfd):
    tiny.experiment(tmp_path).train(tmp_path / "run")
    lock = tmp_path / "run" / "spec.lock.toml"
    lock.write_text(lock.read_text().replace("width = 16", "width = 32"))
    spec = tiny.write_spec(tmp_path, width="width = 32")
    assert _run(["train", str(spec), "--out", str(tmp_path / "run"), "--resume"]) == 4
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"mixer": 'mixer = { use = "attention", heads = 3 }'},
        {"mixer": 'mixer = { use = "gated-linear", heads = 3 }'},
        {"embedding": 'embedding = { use = "learned-positions", length = 8 }'},
        {"more": "target = 1.0"},
    ],
)
def test_check_sees_what_only_the_whole_spec_shows(tmp_path, capfd, changes):
    spec = tiny.write_spec(tmp_path, **changes)
    assert _run(["check", str(spec)]) == 2
    told = capfd.readouterr().err
    assert told.startswith(f"{spec}:")
    assert len(told.splitlines()) == 1


def test_a_reader_that_leaves_is_no_bug(tmp_path):
    code = "import sys; from resnetbk.cli import main; main(sys.argv[1:])"
    script = f'"{sys.executable}" -c "{code}" list | true; exit "${{PIPESTATUS[0]}}"'
    for _ in range(3):
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert (done.returncode, done.stderr) in ((141, ""), (0, ""))


def test_markup_in_a_summary_is_text(fake_plugin, capfd):
    manifest = """
        schema = 1
        [tokenizer.odd]
        use = "odd:Odd"
        summary = "closing tag [/foo] here"
    """
    fake_plugin("odd-one", manifest=manifest)
    assert _run(["list", "tokenizer"]) == 0
    assert "[/foo]" in capfd.readouterr().out


def test_a_manifest_inside_its_package_needs_no_installation(tmp_path, capfd):
    package = tmp_path / "their_package"
    package.mkdir()
    (package / "registry.toml").write_text(
        'schema = 1\n[tokenizer.own]\nuse = "their_package.own:Own"\nsummary = "my own"\n'
    )
    Path(package / "own.py").write_text(
        textwrap.dedent(
            """
            import attrs
            @attrs.frozen
            class Own:
                '''My own.'''
                def build(self, *, text): ...
            """
        ),
        encoding="utf-8",
    )
    assert _run(["--registry", str(package / "registry.toml"), "show", "own"]) == 0
    assert "My own." in capfd.readouterr().out
