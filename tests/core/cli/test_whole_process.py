"""What `train` says at its end of the time that people waited for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import defaultdict

import pytest
import tiny

from resnetbk import whole_process
from resnetbk.runs.run_folder import RunFolder

PARTS = {"imports", "corpus", "setup", "steps", "evaluation", "saving", "other"}


def train(spec, run, *options):
    """The output of a process, and the seconds that it took from outside."""
    command = [sys.executable, "-m", "resnetbk", "train", str(spec), "--out", str(run), *options]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True)
    assert "Traceback" not in done.stderr
    return done.stdout, time.monotonic() - begin


def test_one_line_whose_parts_add_up_to_the_process(tmp_path):
    spec = tiny.write_spec(tmp_path, steps="steps = 2")
    out, took = train(spec, tmp_path / "run")
    last = out.splitlines()[-1]
    whole, parts = re.fullmatch(r"whole process ([0-9.]+) s: (.+)", last).groups()
    seconds = {name: float(said) for name, said in (part.rsplit(" ", 1) for part in parts.split(", "))}
    assert PARTS | {"baselines", "report", "sample"} == set(seconds)
    assert abs(sum(seconds.values()) - float(whole)) <= 0.05 * (len(seconds) + 1)
    assert 0.5 * took <= float(whole) <= took + 0.1
    assert seconds["imports"] > 0.1  # torch, and the interpreter before it
    assert all(said >= 0 for said in seconds.values())

    lines = RunFolder(tmp_path / "run").metrics()
    assert [line["event"] for line in lines[-2:]] == ["finished", "process"]
    recorded = lines[-1]["seconds"]
    assert abs(sum(recorded.values()) - float(whole)) <= 0.06
    steps = sum(
        lines[-2]["phases"][phase]["seconds"] for phase in ("forward", "backward", "optimizer", "scoring")
    )
    assert recorded["steps"] == pytest.approx(steps)


def test_json_has_it_too(tmp_path):
    out, took = train(tiny.write_spec(tmp_path, steps="steps = 1"), tmp_path / "run", "--json")
    whole = json.loads(out)["whole_process"]
    assert set(whole) == PARTS
    assert 0.5 * took <= sum(whole.values()) <= took + 0.1


def test_parts_hold_what_is_in_no_other(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(whole_process, "PARTS", defaultdict(float))
    monkeypatch.setattr(whole_process, "_started", 0.0)
    monkeypatch.setattr(whole_process.time, "monotonic", lambda: float(next(clock)))
    with whole_process.part("outer"):  # 0 to 3
        with whole_process.part("inner"):  # 1 to 2
            pass
        whole_process.PARTS["inner"] += 0.5
    assert whole_process.rest("other") == {"inner": 1.5, "outer": 1.5, "other": 1.0}  # at 4
    assert whole_process.rest("other") == {"inner": 1.5, "outer": 1.5, "other": 2.0}  # at 5


@pytest.mark.parametrize("stat", [None, b"", b"1 (a) R", b"1 (a b) S " + b"x " * 30, b"1 (a) S" + b" ?" * 30])
def test_a_system_that_does_not_tell_the_start_is_no_error(stat, monkeypatch):
    def read(path):
        if stat is None:
            raise FileNotFoundError(path)
        return stat

    monkeypatch.setattr(whole_process.Path, "read_bytes", read)
    now = time.monotonic()
    assert now <= whole_process._start() <= time.monotonic()


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="Linux alone tells the start so")
def test_what_ran_under_this_process_number_before_is_not_counted(monkeypatch):
    """After an `exec` the system gives the start of the program before."""
    hz = whole_process.os.sysconf("SC_CLK_TCK")
    for age, counted in ((2.0, True), (3600.0, False)):
        ticks = int((time.clock_gettime(time.CLOCK_BOOTTIME) - age) * hz)
        stat = b"7 (a) ) b) S " + b" ".join([b"0"] * 18 + [str(ticks).encode()]) + b" 0 0"
        monkeypatch.setattr(whole_process.Path, "read_bytes", lambda path, stat=stat: stat)
        assert time.monotonic() - whole_process._start() == pytest.approx(age * counted, abs=0.3)
