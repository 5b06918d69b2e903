"""Trainings on the workers of a dask cluster: as those of one process, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny

from resnetbk.errors import ResnetbkError, UserError
from resnetbk.spec.read import read
from resnetbk.training.signals import Signals
from resnetbk_instrument.cli.workers import check_lengths, check_workers
from resnetbk_instrument.results.comparison import Goal
from resnetbk_instrument.session import cluster
from resnetbk_instrument.session.cluster import Cluster
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.plan import Plan
from resnetbk_instrument.session.runner import machine, runner
from resnetbk_instrument.session.session import Session

PROBES, STEPS, TOKENS = 2, 60, 32


def processes(session: int) -> dict[int, str]:
    """The command lines of those of a session that live."""
    lines = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                lines[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:  # it ended meanwhile
            pass
    return lines


def test_options_and_specs_that_workers_cannot_do_are_refused_with_the_reason(spec, registry, tmp_path):
    check_workers(None, None)
    check_workers(4, None)
    with pytest.raises(UserError, match=r"^--workers starts a cluster and --scheduler joins one"):
        check_workers(2, "tcp://there:8786")
    timed = read(tiny.write_spec(tmp_path, steps="seconds = 3.0"), registry)
    check_lengths({"a": timed}, None, None)
    with pytest.raises(UserError, match=r"^b: its length is in seconds"):
        check_lengths({"a": spec, "b": timed}, 2, None)


def test_a_result_says_what_its_workers_ran_on():
    def run(function, device):
        return {
            "tcp://a": {**function(device), "processor": "A"},
            "tcp://b": {**function(device), "processor": "B"},
        }

    said = Cluster(SimpleNamespace(run=run), "cpu").machine()
    assert said == {**machine("cpu"), "processor": "A; B"}


@pytest.mark.parametrize(
    ("raised", "signum", "told"),
    [
        (CancelledError(), 0, "the cluster is gone; with another one, --resume goes on"),
        (
            OSError("Timed out trying to connect to 'tcp://there:1'"),
            0,
            "the cluster is gone; with another one, --resume goes on",
        ),
        (OSError("closed"), signal.SIGTERM, "interrupted while workers start or train"),
        (RuntimeError("no start"), signal.SIGINT, "interrupted while workers start or train"),
    ],
)
def test_a_cluster_that_ends_is_a_line(raised, signum, told):
    signals = Signals()
    signals.received = signum
    with pytest.raises(ResnetbkError, match=f"^{told}$") as caught, cluster.told(signals):
        raise raised
    assert caught.value.exit_code == (128 + signum if signum else 1)


@pytest.mark.parametrize(
    "raised",
    [OSError(28, "No space"), OSError("of a download"), RuntimeError("of a worker's own"), KeyError("bug")],
)
def test_all_else_is_raised_as_it_is(raised):
    with pytest.raises(type(raised)) as caught, cluster.told(Signals()):
        raise raised
    assert caught.value is raised


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no groups of processes")
def test_a_ctrl_c_of_the_terminal_ends_it_in_a_line(tmp_path):
    """It reaches all processes of the group."""
    pytest.importorskip("distributed", reason='needs dask: pip install "resnetbk[cluster]"')
    a, b = tiny.embeddings(tmp_path)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "resnetbk", "compare", a, b, "--equal", "tokens", "--workers", "1"]
    compare = subprocess.Popen(
        [*command, "--set", "train.steps=100000", "--out", out],
        stdout=-1, stderr=-1, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not (out / "trials.jsonl").exists():
        assert compare.poll() is None, compare.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(compare.pid, signal.SIGINT)
    _, told = compare.communicate(timeout=120)
    assert compare.returncode == 130, told
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("interrupted; finished trainings kept in")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_worker_that_is_killed_changes_nothing(tmp_path, registry):
    pytest.importorskip("distributed", reason='needs dask: pip install "resnetbk[cluster]"')
    a, b = tiny.embeddings(tmp_path)
    c = tmp_path / "c.toml"
    c.write_text(a.read_text().replace('"a"', '"c"').replace("lr = 0.02", "lr = 0.01"))
    budget, out = STEPS * TOKENS, tmp_path / "out"
    command = [sys.executable, "-m", "resnetbk", "compare", a, b, c, "--equal", "tokens", "--pairs", "2"]
    compare = subprocess.Popen(
        [*command, "--budget", str(budget), "--workers", "2", "--out", out, "--json"],
        stdout=-1, stderr=-1, text=True, start_new_session=True,
    )  # fmt: skip
    trials, deadline = out / "trials.jsonl", time.monotonic() + 300
    while not (trials.exists() and trials.read_bytes().count(b"\n") > 3 * PROBES):  # in a round
        assert compare.poll() is None, compare.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = [number for number, line in processes(compare.pid).items() if "multiprocessing.spawn" in line]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    stdout, stderr = compare.communicate(timeout=300)
    assert compare.returncode == 0, stderr
    deadline = time.monotonic() + 10
    while processes(compare.pid) and time.monotonic() < deadline:  # the system takes a moment to clear them
        time.sleep(0.05)
    assert processes(compare.pid) == {}
    assert json.loads(stdout)["kind"] == "comparison"

    plan = Plan(
        name="serial", variants={path.stem: read(path, registry) for path in (a, b, c)}, pairs=2,
        goal=Goal(equal="tokens", budget=budget),
    )  # fmt: skip
    alone = Session(plan, runner(registry, Signals(), "cpu"), None, Journal())
    alone.run()

    def told(journal: Journal) -> list[tuple]:
        return [
            (t.variant, t.pair, t.seed, t.steps, t.outcome.loss, t.outcome.costs["flops"], t.timed, t.kept)
            for t in journal.trials
        ]

    assert told(Journal(out)) == told(alone.journal)
    assert len(alone.journal.trials) == 3 * PROBES + 2 * 3
    assert alone.journal.trials[-1].steps == STEPS
