"""One process of several dies or hears a signal: the others end too, soon, with a line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import tiny
import torch

from resnetbk.runs import checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.processes import GONE

pytestmark = pytest.mark.skipif(
    sys.platform == "win32"
    or not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch has no gloo",
)

PREPARES = """
import time
from resnetbk.training import peers
from resnetbk.training.processes import Processes
peers.GRACE = 0.1
with peers.watched(Processes.here()):
    print("prepares", flush=True)
    time.sleep(60)
"""

SIGNALLED = """
import os, signal, sys
from resnetbk.cli import _run
from resnetbk.training.learner import Learner

def learn(learner, learn=Learner.learn):
    if learner.step == 3 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signum)
    learn(learner)

Learner.learn = learn
spec, folder = sys.argv[1:]
for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
    print("ended", _run(["train", spec, "--out", f"{folder}/{int(signum)}"]), flush=True)
"""
ENCODES = """
import os, sys, time
from resnetbk.cli import _run
from resnetbk.texts import PIECE
from resnetbk.training import peers
from resnetbk_plugins.tokenizer.chars import CharTokenizer

def note(what):
    with open(log, "a") as file:
        print(os.environ["RANK"], what, file=file)

def encode(tokenizer, text, encode=CharTokenizer.encode):
    if len(text) == PIECE:
        note("encodes")
        time.sleep(60 if "stuck" in spec else 0.5)
    return encode(tokenizer, text)

peers.GRACE, CharTokenizer.encode = 0.1, encode
log, *specs = sys.argv[1:]
for spec in specs:
    note(f"ended {_run(['train', spec, '--out', spec + '.run'])}")
"""


@contextmanager
def started(count: int, *program: object) -> Iterator[list[subprocess.Popen[str]]]:
    """The processes of a run, without torchrun, which would end one for another."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with ExitStack() as stack:
        processes = []
        for rank in range(count):
            places = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            process = subprocess.Popen(
                [sys.executable, *map(str, program)],
                env={**os.environ, **places, **where, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield processes


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said of errors."""
    _, told = process.communicate(timeout=60)
    return process.returncode, told


def test_processes_that_wait_for_nobody_are_told() -> None:
    with started(3, "-c", PREPARES) as processes:
        for process in processes:
            assert process.stdout
            # older gloo prints a line of its own before
            assert "prepares\n" in iter(process.stdout.readline, "")
        processes[1].kill()
        began = time.monotonic()
        assert [ended(processes[rank]) for rank in (0, 2)] == 2 * [(1, f"{GONE}\n")]
        assert time.monotonic() - began < 20


def test_a_run_of_which_one_is_killed_ends_in_both_and_what_is_saved_is_whole(tmp_path: Path) -> None:
    spec = tiny.write_spec(tmp_path, steps="steps = 100000", more="save = 5\nevaluate = 3")
    with started(2, "-m", "resnetbk", "train", spec, "--out", tmp_path / "run") as processes:
        until = time.monotonic() + 60
        while not (tmp_path / "run" / "checkpoints" / "step-000005").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        processes[1].kill()
        codes, told = zip(*map(ended, processes), strict=True)
    assert "Traceback" not in "".join(told)
    assert codes == (1, -signal.SIGKILL)
    assert told[0].endswith(f"{GONE}\n")
    assert RunFolder.open(tmp_path / "run").metrics()


def test_a_signal_to_one_process_ends_both_after_the_step_which_is_saved(tmp_path: Path) -> None:
    spec = tiny.write_spec(tmp_path, steps="steps = 100000")
    with started(2, "-c", SIGNALLED, spec, tmp_path) as processes:
        (said, told), (quiet, told_by_other) = (process.communicate(timeout=300) for process in processes)
    signals = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    assert [line for line in said.splitlines() if line.startswith("ended")] == [
        f"ended {128 + s}" for s in signals
    ]
    assert [line for line in quiet.splitlines() if line.startswith("ended")] == [
        f"ended {128 + s}" for s in signals
    ]
    assert told.count("interrupted after step 4, which is saved; --resume goes on\n") == 3
    assert "Traceback" not in told + told_by_other
    for signum in signals:
        assert checkpoint.load(checkpoint.latest(tmp_path / str(int(signum)))).state["step"] == 4


def test_one_process_encodes_a_text_for_all_and_its_death_is_a_line(tmp_path: Path) -> None:
    specs, log = [], tmp_path / "log"
    for name in ("whole", "stuck"):
        (tmp_path / name).mkdir()
        of_chars = {"window": 'window = 16\ntokenizer = "chars"', "steps": "steps = 1"}
        specs.append(tiny.write_spec(tmp_path / name, **of_chars))
        (tmp_path / name / "corpus.txt").write_text(f"{name}, as the other is not. " * 60_000)
    log.touch()
    with started(2, "-c", ENCODES, log, *specs) as processes:
        until = time.monotonic() + 300
        while log.read_text().count("encodes") < 2:
            assert time.monotonic() < until
            time.sleep(0.1)
        noted = log.read_text().splitlines()
        assert sorted(line for line in noted if "ended" in line) == ["0 ended 0", "1 ended 0"]
        encodes = int(noted[-1].split()[0])
        processes[encodes].kill()
        code, told = ended(processes[1 - encodes])
    assert (code, told.splitlines()[-1]) == (1, GONE)
    assert log.read_text().count("encodes") <= 3  # the lock was free in the other's last moment
