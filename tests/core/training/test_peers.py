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


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGUSR1])
def test_a_run_ends_in_both_and_what_is_saved_is_whole(tmp_path: Path, signum: signal.Signals) -> None:
    spec = tiny.write_spec(tmp_path, steps="steps = 100000", more="save = 5\nevaluate = 3")
    with started(2, "-m", "resnetbk", "train", spec, "--out", tmp_path / "run") as processes:
        until = time.monotonic() + 60
        while not (tmp_path / "run" / "checkpoints" / "step-000005").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        processes[1].send_signal(signum)
        codes, told = zip(*map(ended, processes), strict=True)
    assert "Traceback" not in "".join(told)
    if signum == signal.SIGKILL:
        assert codes == (1, -signum)
        assert told[0].endswith(f"{GONE}\n")
    else:
        assert codes == (128 + signum, 128 + signum)
        assert told[0].startswith("interrupted")
        assert "--resume goes on" in told[0]
    assert RunFolder.open(tmp_path / "run").metrics()
