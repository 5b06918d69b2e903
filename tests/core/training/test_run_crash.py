"""kill -9 at any request to the file system of a run that saves, evaluates, prunes and has a target.

What comes after is what would have been without: children are forked from one process that has torch loaded,
which is this file run as a script.
"""

from __future__ import annotations

import builtins
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny

import resnetbk
from resnetbk.errors import UserError
from resnetbk.runs import checkpoint
from resnetbk.runs.run_folder import RunFolder

STRIDE = int(os.environ.get("CRASH_STRIDE", 13))
"""Every how many moments one is tried; with 1, all of them, which takes minutes."""

SAVING = "save = 2\nevaluate = 3\nkeep = 2"
CALLS = ("fsync", "mkdir", "rename", "replace", "unlink", "rmdir", "open")


def train(spec: str, run: str, fatal: int) -> int:
    """Trains, or goes on where there is something to go on from. Killed instead of the `fatal`th thing that
    it asks of the disk; gives how many it asked for."""
    calls = itertools.count(1)

    def deadly(module: Any, name: str) -> None:
        act = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*args, **kwargs)

        setattr(module, name, call)

    experiment = resnetbk.load(spec)
    for name in CALLS:
        deadly(os, name)
    deadly(builtins, "open")
    try:
        experiment.train(run, resume=True)
    except UserError:
        experiment.train(run)
    return next(calls) - 1


def forks() -> None:
    """A child for each line `spec folder number`; says how it ended: the number of its calls, or `killed`."""
    for line in sys.stdin:
        spec, run, number = line.split()
        if not Path(run).with_name("warm").exists():  # what is imported here, no child imports
            resnetbk.load(spec).train(Path(run).with_name("warm"))
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, str(train(spec, run, int(number))).encode())
            os._exit(0)
        os.close(write)
        _, status = os.waitpid(child, 0)
        ended = os.read(read, 20).decode()
        os.close(read)
        print(ended or ("killed" if os.WIFSIGNALED(status) else "failed"), flush=True)


@pytest.fixture(scope="module")
def child():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:

        def run(spec: Path, folder: Path, fatal: int) -> str:
            print(spec, folder, fatal, file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        yield run
        process.stdin.close()


def result(run: Path) -> Any:
    """All of a run that a second time would be the same."""
    timed = {"seconds", "flops", "phases", "cpu_seconds", "peak_memory", "crc32"}
    metrics = [{k: v for k, v in line.items() if k not in timed} for line in RunFolder(run).metrics()]
    saved = {
        path.name: [
            (path / "model.safetensors").read_bytes(),
            {key: checkpoint.load(path).state[key] for key in ("best", "best_at", "stopped", "step")},
        ]
        for path in checkpoint.available(run)
    }
    return metrics, saved, (run / "LATEST").read_text(), sorted(path.name for path in run.iterdir())


def test_a_kill_at_any_request_to_the_disk_changes_nothing(child, tmp_path: Path) -> None:
    import tiny

    mixer = 'mixer = { use = "attention", heads = 2 }'
    spec = tiny.write_spec(tmp_path, mixer=mixer, more=SAVING)
    assert child(spec, tmp_path / "untargeted", 0).isdecimal()
    losses = [e["loss"] for e in RunFolder(tmp_path / "untargeted").metrics() if e["event"] == "evaluation"]
    assert losses[1] < losses[0]
    spec = tiny.write_spec(tmp_path, mixer=mixer, more=f"{SAVING}\ntarget = {losses[1]!r}")
    calls = int(child(spec, tmp_path / "whole", 0))
    whole = result(tmp_path / "whole")
    assert json.dumps(whole[0]).count('"finished"') == 1
    assert whole[2] == "step-000006\n"
    assert calls > 60
    for fatal in range(1, calls + 1, STRIDE):
        run = tmp_path / str(fatal)
        assert child(spec, run, fatal) == "killed"
        assert child(spec, run, 0).isdecimal(), f"killed at {fatal} of {calls}, it does not go on"
        assert result(run) == whole, f"killed at {fatal} of {calls}"


if __name__ == "__main__":
    forks()


def test_auto_resume_begins_then_goes_on(tmp_path: Path, call, monkeypatch) -> None:
    spec = tiny.write_spec(tmp_path, steps="steps = 4", more="save = 2\nkeep = 9")
    monkeypatch.chdir(tmp_path)
    for where in (("--out", "run"), ()):
        assert call("train", spec, "--auto-resume", *where)[0] == 0
    whole, again = tmp_path / "run", tiny.copy_run(tmp_path / "run", tmp_path / "again", drop="step-000004")
    (again / "LATEST").write_text("step-000002\n")
    assert call("train", spec, "--auto-resume", "--out", "again")[0] == 0
    last = "checkpoints/step-000004/model.safetensors"
    assert (again / last).read_bytes() == (whole / last).read_bytes()
    # the newest under runs/, which is over
    assert call("train", spec, "--auto-resume")[0] == 0
    assert [run.name for run in (tmp_path / "runs").iterdir()] == ["tiny"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other").touch()
    code, _, err = call("train", spec, "--auto-resume", "--out", "full")
    assert (code, "is not empty" in err) == (2, True)
