"""`lock`, `train --locked`, `train --resume` with other code, and `diff`."""

from __future__ import annotations

import json
import logging
import tomllib

import pytest
import tiny
from checkpoints import reseal

from resnetbk.errors import UserError
from resnetbk.lock.lock import read_lock
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk.training.experiment import Experiment

MANIFEST = """
schema = 1
[channel-mixer.twice]
use = "doubler.parts:Twice"
summary = "doubles"
provides = ["causal", "streaming", "any-length", "ragged"]
[observer.still]
use = "doubler.watching:Still"
summary = "says nothing"
"""
PARTS = """
import attrs
from torch import nn
class Doubling(nn.Linear):
    def forward(self, x): return 2 * super().forward(x), {}
@attrs.frozen
class Twice:
    def build(self, *, width, depth): return Doubling(width, width)
"""
WATCHING = """
import attrs
@attrs.frozen
class Still:
    def build(self, *, folder, spec): return object()
"""


def test_a_lock_is_written_beside_its_spec_and_reads_back(call, tmp_path):
    spec = tiny.write_spec(tmp_path)
    code, out, err = call("lock", spec)
    assert (code, err) == (0, "")
    file = tmp_path / "tiny.lock.toml"
    assert out.startswith(f"{file}: 13 components, corpus ")
    registry = Registry.discover()
    assert read_lock(file, registry) == read(spec, registry)
    locked = tomllib.loads(file.read_text())
    assert len(locked["environment"]["corpus_sha256"]) == 64
    assert not list(tmp_path.glob(".*"))
    assert call("lock", spec, "--set", "model.width=32", "--out", tmp_path / "wide.toml")[0] == 0
    assert read_lock(tmp_path / "wide.toml", registry).model.width == 32


def test_a_lock_that_cannot_be_made_leaves_the_old_one(call, tmp_path):
    spec = tiny.write_spec(tmp_path)
    assert call("lock", spec)[0] == 0
    before = (tmp_path / "tiny.lock.toml").read_bytes()
    code, _, err = call("lock", spec, "--set", 'data.corpus.path="/nowhere.txt"')
    assert code == 2
    assert "nowhere" in err
    assert (tmp_path / "tiny.lock.toml").read_bytes() == before
    code, _, err = call("lock", spec, "--out", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "is a directory" in err
    assert call("lock", spec, "--out", tmp_path / "corpus.txt" / "x.toml")[0] == 4
    assert call("lock", spec, "--out", tmp_path / "new" / "folder" / "x.toml")[0] == 0
    assert (tmp_path / "new" / "folder" / "x.toml").is_file()


def test_training_is_held_to_the_lock(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = tiny.write_spec(tmp_path)
    code, _, err = call("train", spec, "--locked")
    assert (code, err) == (2, f"{tmp_path}/tiny.lock.toml: no such lock; make it: resnetbk lock {spec}\n")
    call("lock", spec)
    locked = tmp_path / "tiny.lock.toml"
    assert (
        Experiment(read(spec, Registry.discover()), Registry.discover())
        .train(tmp_path / "held", locked=locked)
        .report
    )
    text = locked.read_text()
    platform = tomllib.loads(text)["environment"]["platform"]
    locked.write_text(text.replace("width = 16", "width = 17").replace(platform, "moon-risc"))
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, err = call("train", spec, "--locked")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"{locked}: model.width: locked 17, now 16; take the change back, or lock again",
        f"{locked}: platform: locked moon-risc, now {platform}; run it there, or lock again",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_another_text_is_refused_by_the_lock(call, tmp_path):
    spec = tiny.write_spec(tmp_path)
    call("lock", spec)
    with open(tmp_path / "corpus.txt", "a", encoding="utf-8") as file:
        file.write("more of it")
    code, _, err = call("train", spec, "--locked", "--out", tmp_path / "run")
    assert code == 2
    assert "corpus_sha256: locked " in err
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- resuming


def test_resume_refuses_other_code_and_only_warns_of_other_observers(fake_plugin, tmp_path, caplog):
    package = fake_plugin("doubler", manifest=MANIFEST, modules={"parts": PARTS, "watching": WATCHING})
    changes = {"channel": 'channel = "twice"', "observe": 'observe = ["still"]'}
    run = tmp_path / "run"
    tiny.experiment(tmp_path, **changes).train(run)
    (package / "watching.py").write_text(WATCHING + "# more\n")
    lock = run / "spec.lock.toml"
    lock.write_text(lock.read_text().replace('torch = "', 'torch = "0.'))
    reseal(run)
    with caplog.at_level(logging.WARNING, "resnetbk"):
        tiny.experiment(tmp_path, **changes).train(run, resume=True)
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(f"{run}: resumes with other than it began with: train.observe[0] doubler ")
    assert ", torch 0." in message
    assert "\n" not in message
    (package / "parts.py").write_text(PARTS.replace("2 *", "3 *"))
    with pytest.raises(UserError) as caught:
        tiny.experiment(tmp_path, **changes).train(run, resume=True)
    (mistake,) = caught.value.mistakes
    assert str(mistake).startswith(f"{run}: model.channel: locked doubler ")
    assert str(mistake).endswith(", or start a new run")


# ---------------------------------------------------------------- diff


def test_diff_of_specs_locks_and_runs(call, tmp_path):
    a = tiny.write_spec(tmp_path)
    registry = Registry.discover()
    Experiment(read(a, registry), registry).train(tmp_path / "run")
    call("lock", a)
    call("lock", a, "--set", "model.width=32", "--out", tmp_path / "wide.lock.toml")
    for one, other in ((a, a), (a, tmp_path / "run"), (tmp_path / "tiny.lock.toml", tmp_path / "run")):
        assert call("diff", one, other) == (0, "no difference\n", "")
    code, out, _ = call("diff", a, tmp_path / "wide.lock.toml")
    assert (code, out) == (0, "model.width: 16 -> 32\n")
    wide = tmp_path / "wide.lock.toml"
    wide.write_text(wide.read_text().replace('python = "', 'python = "9').replace("chains = 8, ", ""))
    code, out, _ = call("diff", tmp_path / "run", wide)
    python = tomllib.loads(wide.read_text())["environment"]["python"]
    assert (code, out.splitlines()) == (
        0,
        [
            "[spec]",
            "model.width: 16 -> 32",
            "model.mixer.chains: 8 -> nothing",
            "[environment]",
            f'python: "{python[1:]}" -> "{python}"',
        ],
    )
    rows = json.loads(call("diff", tmp_path / "run", wide, "--json")[1])
    assert rows["spec"][1] == {"key": "model.mixer.chains", "a": 8, "b": None}
    assert (rows["components"], len(rows["environment"])) == ([], 1)
    assert list(json.loads(call("diff", a, wide, "--json")[1])) == ["spec"]


def test_a_diff_of_what_is_not_there(call, tmp_path):
    spec = tiny.write_spec(tmp_path)
    assert call("diff", spec, tmp_path / "none.toml")[0] == 2
    (tmp_path / "folder").mkdir()
    code, _, err = call("diff", tmp_path / "folder", spec)
    assert code == 2
    assert "is not a run" in err
