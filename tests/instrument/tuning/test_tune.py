"""The search: equal trials for every spec, resumed and shared, and specs that say what it found."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import tiny

from resnetbk.errors import StorageError, UserError
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk.training.experiment import Experiment
from resnetbk.training.signals import Interrupted
from resnetbk_instrument.tuning.ranges import search_spaces

optuna = pytest.importorskip("optuna", minversion="4")

from resnetbk_instrument.tuning import studies  # noqa: E402
from resnetbk_instrument.tuning.tune import Search, tune  # noqa: E402
from resnetbk_instrument.tuning.tuned import SearchResult  # noqa: E402

RATE = "train.optimizer.lr=1e-3:1e-1:log"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture
def specs(tmp_path: Path) -> list[str]:
    return tiny.mixers(tmp_path)


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def searched(
    specs: list[str], ranges: list[str], registry: Registry, out: Path, **search
) -> list[SearchResult]:
    return tune(search_spaces(specs, ranges, registry), Search(**search), registry, out)


def test_every_spec_gets_the_same_trials_and_its_best_as_a_spec(specs, registry, tmp_path):
    out, said, begun = tmp_path / "out", [], []
    watcher = SimpleNamespace(say=said.append, begin=begun.append)
    outcome = search_spaces(
        specs, [RATE, "model.mixer.chains=2:8", "model.norm=rms,layer"], registry, ["seed=3"]
    )
    results = tune(outcome, Search(trials=3), registry, out, command="resnetbk tune x", watcher=watcher)
    trials = records(out)
    assert (len(said), begun[0], len(begun)) == (6, "tiny: trial 1 of 3", 6)
    assert [space for line in said for space in [line.partition(":")[0]]] == ["tiny", "attn"] * 3  # in turns
    assert [(t["variant"], t["trial"]) for t in trials] == [
        (a, n) for a in ("tiny", "attn") for n in (1, 2, 3)
    ]
    for result, spec in zip(results, specs, strict=True):
        mine = [t for t in trials if t["variant"] == result.name]
        best = min(mine, key=lambda t: t["loss"])
        assert (result.loss, result.values) == (best["loss"], best["values"])
        assert (result.trials, result.failed, result.elsewhere) == (3, 0, 0)
        # the first trial is the spec as it is
        assert mine[0]["loss"] == result.own >= result.loss
        own = read(spec, registry)
        assert mine[0]["values"]["train.optimizer.lr"] == own.train.optimizer.component.lr
        for trial in mine:
            assert trial["losses"] == [trial["loss"]]
            assert trial["tokens"] == 2 * 4 * 16
            assert trial["flops"] > 0
            assert trial["seconds"] > 0
            assert isinstance(trial["values"].get("model.mixer.chains", 0), int)
        assert result.tuned == out / f"{result.name}-tuned.toml"
        tuned = read(result.tuned, registry)
        assert (tuned.name, tuned.seed) == (f"{result.name}-tuned", 3)
        assert tuned.train.optimizer.component.lr == result.values["train.optimizer.lr"]
        assert tuned.train.observe == own.train.observe
        text = result.tuned.read_text()
        assert f"# held-out loss {result.loss:.4f} nats/token, the best of 3 trials (0 failed)" in text
        assert "# resnetbk tune x\n" in text
    # what was tuned trains to the loss that was said
    run = Experiment(read(results[1].tuned, registry), registry).train(tmp_path / "run")
    assert run.report.loss == results[1].loss
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "attn-tuned.toml", "study.db", "tiny-tuned.toml", "trials.jsonl",
    ]  # fmt: skip


def test_a_tuned_spec_is_laid_out_as_the_spec_was(specs, registry, tmp_path):
    path = Path(specs[0])
    original = path.read_text(encoding="utf-8").replace("depth = 2", "depth = 2   # layers\n")
    path.write_text(f"# what it is for\n\n{original}# the end\n", encoding="utf-8")
    (result,) = searched(specs[:1], ["model.depth=1,3"], registry, tmp_path / "out", trials=1)
    text = result.tuned.read_text()
    changed = path.read_text(encoding="utf-8").replace("depth = 2", f"depth = {result.values['model.depth']}")
    assert text.startswith("# held-out loss ")
    assert text.endswith("\n\n" + changed.replace('name = "tiny"', 'name = "tiny-tuned"'))


def test_a_tuned_spec_extends_what_the_spec_does(specs, registry, tmp_path):
    path = tmp_path / "over.toml"
    path.write_text('extends = "tiny.toml"  # two layers\nname = "over"\n\n[model]\nnorm = "layer"\n')
    ranges = ["model.depth=1:3", "train.optimizer.lr=0.01,0.02"]
    (result,) = searched([str(path)], ranges, registry, tmp_path / "out", trials=2)
    assert result.tuned.read_text().split("\n\n", 1)[1] == (
        'extends = "../tiny.toml"  # two layers\nname = "over-tuned"\n\n'
        f'[model]\nnorm = "layer"\ndepth = {result.values["model.depth"]}\n\n'
        f"[train]\noptimizer = {{ lr = {result.values['train.optimizer.lr']} }}\n"
    )
    tuned, own = read(result.tuned, registry), read(path, registry)
    assert tuned.model.depth == result.values["model.depth"]
    assert tuned.train.optimizer.component.lr == result.values["train.optimizer.lr"]
    assert (tuned.data, tuned.model.mixer, tuned.train.steps) == (own.data, own.model.mixer, own.train.steps)


def test_the_same_command_goes_on_as_if_it_had_not_stopped(specs, registry, tmp_path):
    ranges = [RATE, "model.mixer.chains=2:8"]
    searched(specs[:1], ranges, registry, tmp_path / "whole", trials=4, seed=5)
    searched(specs[:1], ranges, registry, tmp_path / "parts", trials=2, seed=5)
    (tmp_path / "parts" / "trials.jsonl").write_text("")  # the database has them
    searched(specs[:1], ranges, registry, tmp_path / "parts", trials=4, seed=5)
    again = searched(specs[:1], ranges, registry, tmp_path / "parts", trials=4, seed=5)
    whole, parts = ([(t["values"], t["loss"]) for t in records(tmp_path / n)] for n in ("whole", "parts"))
    assert whole == parts
    assert len(whole) == 4
    assert again[0].trials == 4
    assert len({t[0]["train.optimizer.lr"] for t in whole}) == 4


def test_a_search_of_something_else_is_refused(specs, registry, tmp_path):
    out = tmp_path / "out"
    searched(specs[:1], [RATE], registry, out, trials=1)
    path = Path(specs[0])
    original = path.read_text(encoding="utf-8")
    path.write_text(
        original.replace("depth = 2", "depth = 1").replace("batch = 4", "batch = 5"), encoding="utf-8"
    )
    with pytest.raises(UserError) as caught:
        searched(specs[:1], [RATE], registry, out, trials=2)
    assert [str(m) for m in caught.value.mistakes] == [
        f"{out}: tiny: not as the search began: spec.{line}; "
        "take the change back, or choose another --out or --storage"
        for line in ("model.depth: 2 -> 1", "train.batch: 4 -> 5")
    ]
    path.write_text(original, encoding="utf-8")
    with pytest.raises(UserError, match=r'ranges\.train\.optimizer\.lr: "0\.001 to 0\.1, log" -> "0\.002 to'):
        searched(specs[:1], ["train.optimizer.lr=2e-3:1e-1:log"], registry, out, trials=2)
    with pytest.raises(UserError, match="seed: 0 -> 1"):
        searched(specs[:1], [RATE], registry, out, trials=2, seed=1)
    with open(tmp_path / "corpus.txt", "a", encoding="utf-8") as file:
        file.write("more")
    with pytest.raises(UserError, match="corpus_sha256"):
        searched(specs[:1], [RATE], registry, out, trials=2)
    assert len(records(out)) == 1


def test_what_diverges_or_cannot_be_counts_and_does_not_stop_the_search(specs, registry, tmp_path):
    path = Path(specs[1])
    text = path.read_text(encoding="utf-8").replace("heads = 2", "heads = 2, rope = false")
    path.write_text(text.replace("steps = 2", "steps = 6"), encoding="utf-8")
    ranges = ["model.mixer.heads=2,3,16", "model.width=16,24", "train.optimizer.lr=0.02,1e38"]
    with pytest.raises(UserError, match="heads"):  # 3 heads never go into the width of the spec
        search_spaces(specs[1:], ranges, registry)
    ranges[0] = "model.mixer.heads=2,16"
    (result,) = searched(specs[1:], ranges, registry, tmp_path / "out", trials=10)
    trials = records(tmp_path / "out")
    assert len(trials) == result.trials == 10
    failed = [t for t in trials if "loss" not in t]
    assert result.failed == len(failed) > 0
    for trial in failed:
        values = trial["values"]
        misfit = (values["model.width"], values["model.mixer.heads"]) == (24, 16)
        assert misfit or values["train.optimizer.lr"] == 1e38
        assert ("heads" if misfit else "step ") in trial["reason"]
        assert "/" not in trial["reason"]
    assert any("step " in trial["reason"] for trial in failed)
    assert result.values["train.optimizer.lr"] == 0.02


def test_an_interrupted_trial_is_done_again_and_the_others_are_kept(specs, registry, tmp_path, monkeypatch):
    out, train, calls = tmp_path / "out", Experiment.train, []

    def interrupted(self, *arguments, **more):
        calls.append(self.spec.name)
        if len(calls) == 3:
            raise Interrupted(signal.SIGTERM, "interrupted after step 1")
        return train(self, *arguments, **more)

    monkeypatch.setattr(Experiment, "train", interrupted)
    with pytest.raises(
        Interrupted, match="interrupted in a trial of tiny; the trials before it are"
    ) as caught:
        searched(specs, [RATE], registry, out, trials=2)
    assert caught.value.exit_code == 143
    assert [(t["variant"], t["trial"]) for t in records(out)] == [("tiny", 1), ("attn", 1)]
    results = searched(specs, [RATE], registry, out, trials=2)
    assert calls == ["tiny", "attn", "tiny", "tiny", "attn"]
    assert [result.trials for result in results] == [2, 2]
    searched(specs, [RATE], registry, tmp_path / "whole", trials=2)
    assert [t["loss"] for t in records(out)] == [t["loss"] for t in records(tmp_path / "whole")]


def test_places_of_dead_processes_are_given_back_and_others_kept(specs, registry, tmp_path):
    out = tmp_path / "out"
    searched(specs[:1], [RATE], registry, out, trials=1)
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    store = optuna.storages.RDBStorage(f"sqlite:///{out}/study.db")
    study = optuna.load_study(study_name="resnetbk/tiny", storage=store)
    for worker, seen in (([socket.gethostname(), done.pid], 0.0), (["elsewhere", 1], studies.LOST * 2)):
        trial = study.ask()
        trial.set_user_attr("worker", worker)
        trial.set_user_attr("seen", time.time() - seen)
    alive = study.ask()
    alive.set_user_attr("worker", ["elsewhere", 2])
    alive.set_user_attr("seen", time.time())
    left = out / f".trial-{socket.gethostname()}-{done.pid}"
    left.mkdir()
    (result,) = searched(specs[:1], [RATE], registry, out, trials=3)
    assert (result.trials, result.elsewhere) == (2, 1)
    assert [t.state.name for t in study.get_trials()] == ["COMPLETE", "FAIL", "FAIL", "RUNNING", "COMPLETE"]
    assert not left.exists()
    store.remove_session()
    store.engine.dispose()


def test_processes_share_a_search(specs, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "resnetbk", "tune", *specs, "--range", RATE, "--trials", "3"]
    both = [subprocess.Popen([*command, "--out", str(out)], stdout=-1, stderr=-1, text=True) for _ in "ab"]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    trials = records(out)
    assert [(t["variant"], t["trial"]) for t in trials] == [
        (a, n) for a in ("tiny", "attn") for n in (1, 2, 3)
    ]
    assert sum(err.count(": trial ") for _, err in said) == 6
    assert len({t["values"]["train.optimizer.lr"] for t in trials if t["variant"] == "tiny"}) == 3


def test_a_trial_may_be_several_seeds(specs, registry, tmp_path):
    (result,) = searched(specs[:1], [RATE], registry, tmp_path / "out", trials=1, seeds=2)
    (trial,) = records(tmp_path / "out")
    spec = read(specs[0], registry)
    for seed, loss in enumerate(trial["losses"]):
        run = Experiment(attrs.evolve(spec, seed=seed), registry).train(tmp_path / f"run{seed}")
        assert run.report.loss == loss
    assert result.loss == trial["loss"] == pytest.approx(sum(trial["losses"]) / 2)
    assert trial["tokens"] == 2 * 2 * 4 * 16


def test_a_folder_of_something_else_and_a_bad_database_are_refused(specs, registry, tmp_path):
    with pytest.raises(UserError, match="holds something else than a search; choose another --out"):
        searched(specs[:1], [RATE], registry, tmp_path, trials=1)
    with pytest.raises(UserError, match="is, or lies under, a file"):
        searched(specs[:1], [RATE], registry, Path(specs[0]), trials=1)
    outcome = search_spaces(specs[:1], [RATE], registry)
    for url in ("no-url", "nosuch://x/y"):
        with pytest.raises(UserError, match="--storage: ") as caught:
            tune(outcome, Search(trials=1), registry, tmp_path / "out", storage=url)
        assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match="the database of the search: ") as refused:
        tune(outcome, Search(trials=1), registry, tmp_path / "out", storage="sqlite:////no/such/folder/x.db")
    assert "\n" not in str(refused.value)


def test_a_database_may_be_elsewhere(specs, registry, tmp_path):
    outcome, url = search_spaces(specs[:1], [RATE], registry), f"sqlite:///{tmp_path}/shared.db"
    for number, out in enumerate(("one", "two"), 1):
        tune(outcome, Search(trials=number), registry, tmp_path / out, storage=url)
        assert len(records(tmp_path / out)) == number
        assert not (tmp_path / out / "study.db").exists()


def test_where_the_best_lies_is_said(registry, specs):
    from resnetbk_instrument.tuning.tuned import _at_edge, _quarter

    (space,) = search_spaces(specs[:1], [RATE, "model.depth=1:9", "model.norm=rms,layer"], registry)
    rate, depth, norm = space.ranges.values()
    assert [_at_edge(rate, x) for x in (0.001, 0.0012, 0.01, 0.095)] == [True, False, False, True]
    assert [_at_edge(depth, x) for x in (1, 2, 9)] == [True, False, True]
    assert not _at_edge(norm, "rms")
    good = [
        {"values": {"train.optimizer.lr": lr, "model.depth": 2, "model.norm": norm}}
        for lr, norm in [(0.03, "rms"), (0.01, "layer"), (0.02, "rms"), (0.5, "rms"), (0.6, "rms")] * 2
    ]
    assert _quarter(space, good) == {
        "train.optimizer.lr": (0.01, 0.03), "model.depth": (2,), "model.norm": ("rms", "layer"),
    }  # fmt: skip
    assert _quarter(space, []) == {}
