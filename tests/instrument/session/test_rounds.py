"""Comparisons on workers that are there: whole rounds where seconds count, ablations, and resuming."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time

import attrs
import pytest
import tiny

from resnetbk.errors import UserError
from resnetbk.spec.read import read
from resnetbk.training.signals import Interrupted, Signals
from resnetbk_instrument.cli.workers import check_undisturbed
from resnetbk_instrument.results.comparison import Goal
from resnetbk_instrument.session import calibration, cluster
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.plan import Plan
from resnetbk_instrument.session.rounds import RoundsElsewhere
from resnetbk_instrument.session.runner import runner, shared_text
from resnetbk_instrument.session.session import Session

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills workers as Windows cannot")

SHORT = """
from resnetbk_instrument.session import calibration
calibration.REPEATS, calibration._NUMBERS = 2, {"cpu": 1000}
"""
MUCH = 1e5
"""A tolerance by which the machine's speed may change as it likes."""


@pytest.fixture(scope="module")
def workers():
    """Two processes, which share this machine as no two may where seconds are to say something."""
    pytest.importorskip("distributed", reason='needs dask: pip install "resnetbk[cluster]"')
    with cluster.workers(2, None, "cpu") as joined:
        joined.client.run(exec, SHORT)
        yield joined


@pytest.fixture(autouse=True)
def _short_calibrations(monkeypatch):
    monkeypatch.setattr(calibration, "REPEATS", 2)
    monkeypatch.setattr(calibration, "_NUMBERS", {"cpu": 1000})


@pytest.fixture
def variants(tmp_path, registry):
    return {path.stem: read(path, registry) for path in tiny.embeddings(tmp_path)}


@pytest.fixture
def begin(workers, variants, registry):
    """Begins a session whose rounds the workers make."""

    def begin(plan, journal, watch=lambda progress: None):
        text = shared_text(variants).corpus_sha256
        rounds = RoundsElsewhere(workers, Signals(), registry, text, plan, journal)
        return Session(plan, lambda *given: 1 / 0, None, journal, watch, rounds=rounds)

    return begin


def losses(trials):
    return [(t.variant, t.pair, t.seed, t.steps, t.outcome.loss) for t in trials]


def of_one_worker(trials):
    """Whether each training began with the calibration that the one before ended with."""
    return all(a.speed[1] == b.speed[0] for a, b in itertools.pairwise(trials))


def kill_one(workers):
    """Once both are at work."""
    while sum(map(bool, workers.client.processing().values())) < 2:
        time.sleep(0.01)
    busy = workers.client.processing()
    numbers = workers.client.run(os.getpid)
    os.kill(next(numbers[address] for address in busy if busy[address]), signal.SIGKILL)


def test_rounds_to_a_loss_are_those_of_one_machine_though_a_worker_is_killed(
    workers, variants, registry, begin, tmp_path
):
    plan = Plan(name="x", variants=variants, goal=Goal(loss=4.5), pairs=2, tolerance=MUCH)
    killer, stages = threading.Thread(target=kill_one, args=[workers]), []

    def watch(progress):
        stages.append(progress.stage)
        if progress.stage == "search" and not killer.ident:
            killer.start()

    begin(plan, Journal(tmp_path), watch).run()
    killer.join()
    trials = Journal(tmp_path).trials
    search, *rounds = ([trial for trial in trials if trial.pair == pair] for pair in (-1, 0, 1))
    assert stages == [*["search"] * len(search), *["round 1/2"] * 4, *["round 2/2"] * 4]
    assert [[trial.variant for trial in of_round] for of_round in rounds] == [[*"abba"], [*"baab"]]
    assert all(trial.timed and trial.kept and trial.cost("seconds") > 0 for trial in trials)
    assert all(map(of_one_worker, rounds))
    assert not of_one_worker([*rounds[0], *rounds[1]])
    train = runner(registry, Signals(), "cpu")
    for trial in (rounds[0][1], rounds[1][3]):
        assert trial.outcome.loss == train(variants["b"], plan.seed(trial.pair), trial.steps).loss


def test_at_equal_seconds_a_round_cut_off_is_made_again_whole(variants, begin, tmp_path):
    # so long that it buys the ten steps that are needed also of a variant that is slowed down tenfold
    a = attrs.evolve(variants["a"], train=attrs.evolve(variants["a"].train, steps=100))
    goal = Goal(equal="seconds")
    plan = Plan(name="x", variants={**variants, "a": a}, goal=goal, pairs=2, tolerance=MUCH)
    session = begin(plan, Journal(tmp_path))
    session.policy.fault = lambda pair: ""  # another training beside it makes steps slower by any factor
    session.run()
    whole = Journal(tmp_path).trials
    assert [(t.variant, t.pair) for t in whole[4:]] == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    lines = (tmp_path / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "trials.jsonl").write_bytes(b"".join(lines[:-1]))
    again = begin(plan, Journal(tmp_path))
    again.policy.fault = session.policy.fault
    again.run()
    trials = Journal(tmp_path).trials
    assert losses(trials[:6]) == losses(whole[:6])
    assert [(t.variant, t.pair, t.kept) for t in trials[6:]] == [
        ("b", 1, False),
        ("b", 1, True),
        ("a", 1, True),
    ]
    assert of_one_worker(trials[7:])


def test_what_a_worker_refuses_is_said_here(variants, begin):
    plan = Plan(name="x", variants=variants, goal=Goal(loss=50.0), pairs=1)
    with pytest.raises(UserError, match=r"^--target-loss 50: a is at .* ask for a lower loss$"):
        begin(plan, Journal()).run()


def test_workers_that_share_a_machine_are_refused_where_seconds_count(workers, call, tmp_path):
    specs, address = tiny.embeddings(tmp_path), workers.client.scheduler.address
    code, out, err = call("compare", *specs, "--equal", "seconds", "--scheduler", address)
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert line.startswith("--scheduler: 2 workers share one machine; where seconds count, start one worker")
    for goal in (("--equal", "seconds"), ("--target-loss", "4")):
        code, out, err = call("compare", *specs, *goal, "--workers", "2", "--device", "cpu")
        assert (code, out) == (2, "")
        assert "--workers 2: where seconds count each needs a machine or a GPU to itself" in err
    check_undisturbed(1, "cpu")
    check_undisturbed(8, "cuda:0")


def test_an_ablation_on_workers_that_was_interrupted_is_that_of_this_process(
    workers, call, tmp_path, monkeypatch
):
    a, b = tiny.embeddings(tmp_path)
    goal = ["--equal", "tokens", "--budget", "640", "--pairs", "2", "--json"]
    command = ["ablate", b, "--against", a, *goal]
    code, out, err = call(*command, "--out", tmp_path / "alone")
    assert code == 0, err
    alone = json.loads(out)
    add, elsewhere = Journal.add, ["--scheduler", workers.client.scheduler.address, "--out", tmp_path / "out"]

    def interrupted(journal, *trials):
        if len(journal.trials) == 5:  # within the first round
            raise Interrupted(signal.SIGTERM, "")
        add(journal, *trials)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", interrupted)
        code, _, err = call(*command, *elsewhere)
    assert code == 128 + signal.SIGTERM
    assert "finished trainings kept" in err.splitlines()[-1]
    code, out, err = call(*command, *elsewhere, "--resume")
    assert code == 0, err
    resumed = json.loads(out)
    assert resumed["factors"] == alone["factors"] != []
    trials = Journal(tmp_path / "out").trials
    assert [trial.kept for trial in trials].count(False) == 1
    assert losses(t for t in trials if t.kept) == losses(Journal(tmp_path / "alone").trials)
