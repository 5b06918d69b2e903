"""A search whose trials are in a journal: a file that processes and machines share."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from resnetbk.errors import StorageError, UserError
from resnetbk.registry.lookup import Registry
from resnetbk_instrument.tuning.ranges import search_spaces

optuna = pytest.importorskip("optuna", minversion="4")

from resnetbk_instrument.tuning.tune import Search, tune  # noqa: E402

RATE = "train.optimizer.lr=1e-3:1e-1:log"


@pytest.fixture
def specs(tmp_path: Path) -> list[str]:
    return tiny.mixers(tmp_path)


def test_processes_share_a_journal_and_one_that_is_killed_costs_its_trial_only(specs, tmp_path):
    journal = tmp_path / "search.log"
    command = [sys.executable, "-m", "resnetbk", "tune", specs[0], "--range", RATE, "--trials", "6"]
    shared = ["--storage", f"journal:{journal}", "--out"]
    both = [subprocess.Popen([*command, *shared, tmp_path / out], stdout=-1, stderr=-1) for out in "ab"]
    deadline, begun = time.monotonic() + 60, []
    while len(begun) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
        lines = journal.read_bytes().splitlines() if journal.exists() else []
        begun = [json.loads(line)["user_attr"]["worker"][1] for line in lines if b'"worker":[' in line]
    lost, other = sorted(both, key=lambda process: process.pid != begun[-1])  # in the second trial
    lost.kill()
    said = [process.communicate() for process in (other, lost)]  # which is a zombie until then
    assert (lost.returncode, other.returncode) == (-signal.SIGKILL, 0), said
    store = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    states = [t.state.name for t in optuna.load_study(study_name="resnetbk/tiny", storage=store).get_trials()]
    assert (states.count("COMPLETE"), states.count("RUNNING")) == (6, 0)
    lines = (tmp_path / ("b" if other is both[1] else "a") / "trials.jsonl").read_text().splitlines()
    trials = [json.loads(line) for line in lines]
    assert [trial["trial"] for trial in trials] == [1, 2, 3, 4, 5, 6]
    assert len({trial["values"]["train.optimizer.lr"] for trial in trials}) == 6


def test_what_is_no_journal_is_refused(specs, tmp_path):
    outcome = search_spaces(specs[:1], [RATE], Registry.discover())
    (tmp_path / "text").write_text("no journal\nof a search\n")
    for name, kind in (("", UserError), (tmp_path / "text", UserError), (tmp_path / "no/such", StorageError)):
        with pytest.raises(kind) as caught:
            tune(outcome, Search(trials=1), Registry.discover(), tmp_path / "out", storage=f"journal:{name}")
        assert "\n" not in str(caught.value)
