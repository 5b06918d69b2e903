"""kill -9 of one of a run's two processes, at each of many moments: python benchmarks/kill.py [MOMENT...]

Of each: which process, after how many seconds the other had ended, its exit code, what it said last, and,
after both were started again with --auto-resume, whether losses of all steps and the last weights are to
the bit those of a run that was left alone. Processes are started without torchrun, which would end one for
another.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS, SAVE = 20, 5
LIMIT = 150.0
"""Seconds after which a process that still waits is ended."""

AT_ONCE, SOON = 0.0, 0.004
"""When to die, in seconds after a moment: a step takes ten milliseconds, an evaluation more."""

# name: process, what it is about to call, how many calls later, and how long after that it dies
MOMENTS: dict[str, tuple[int, str, int, float]] = {
    "imports": (1, "", 0, AT_ONCE),
    "meets the others": (1, "resnetbk.training.processes:Processes.here", 0, SOON),
    "reads the corpus": (1, "resnetbk.training.data:Data.of", 0, AT_ONCE),
    "reads the corpus, first process": (0, "resnetbk.training.data:Data.of", 0, AT_ONCE),
    "builds the model": (1, "resnetbk.training.learner:assemble", 0, AT_ONCE),
    "writes the lock": (0, "resnetbk.runs.run_folder:RunFolder.write_lock", 0, AT_ONCE),
    "saves before the first step": (0, "resnetbk.runs.checkpoint:save_file", 1, AT_ONCE),
    "first step": (1, "resnetbk.training.learner:Learner.learn", 0, AT_ONCE),
    "within a step": (1, "resnetbk.training.learner:Learner.learn", 7, SOON),
    "within a step, first process": (0, "resnetbk.training.learner:Learner.learn", 7, SOON),
    "evaluates": (1, "resnetbk.training.learner:Learner.measure", 0, SOON),
    "saves": (0, "resnetbk.runs.checkpoint:save_file", 5, AT_ONCE),
    "removes an old checkpoint": (0, "resnetbk.runs.checkpoint:prune", 3, AT_ONCE),
    "evaluates at the end": (1, "resnetbk.training.learner:Learner.measure", STEPS // SAVE - 1, SOON),
    "reports": (1, "resnetbk.training.trainer:Trainer._report", 0, AT_ONCE),
}


def die(after: float) -> None:
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if not after:
        time.sleep(60)


def dies_at(place: str, calls: int, after: float) -> None:
    """Replaces the function at `module:name` by one that lets this process die at a later call."""
    module_name, _, name = place.partition(":")
    __import__(module_name)
    owner: Any = sys.modules[module_name]
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    honest: Callable[..., Any] = getattr(owner, last)
    left = calls

    def dying(*given: Any, **named: Any) -> Any:
        nonlocal left
        if left == 0:
            die(after)
        left -= 1
        return honest(*given, **named)

    setattr(owner, last, staticmethod(dying) if hasattr(honest, "__self__") else dying)


def train(folder: Path, moment: str = "") -> tuple[list[subprocess.Popen[str]], float]:
    """Both processes of a run in `folder`, ended; and how many seconds apart."""
    from processes import QUICKSTART, SMALL  # which import torch, as a process is not to before its moment

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    lengths = [f"train.steps={STEPS}", f"train.save={SAVE}", f"train.evaluate={SAVE}"]
    sets = [word for one in (*SMALL, *lengths) for word in ("--set", one)]
    command = ["train", QUICKSTART, *sets, "--out", str(folder), "--auto-resume", "--device", "cpu"]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--process", moment, *command],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    while all(process.poll() is None for process in processes):
        time.sleep(0.02)
    began = time.monotonic()
    while any(process.poll() is None for process in processes) and time.monotonic() - began < LIMIT:
        time.sleep(0.02)
    apart = time.monotonic() - began
    for process in processes:
        process.kill()
    return processes, apart


def last_line(process: subprocess.Popen[str]) -> str:
    lines = process.communicate()[1].splitlines()
    return lines[-1] if lines else ""


def results(folder: Path) -> tuple[list[tuple[int, float]], str]:
    """Each step's number and loss, and the sha256 of the weights at the end."""
    from resnetbk.runs.run_folder import RunFolder

    losses = [(r["step"], r["loss"]) for r in RunFolder(folder).metrics() if r["event"] == "step"]
    weights = folder / "checkpoints" / f"step-{STEPS:06}" / "model.safetensors"
    return losses, hashlib.sha256(weights.read_bytes()).hexdigest()


def main() -> None:
    chosen = sys.argv[1:] or list(MOMENTS)
    with tempfile.TemporaryDirectory() as scratch:
        processes, _ = train(Path(scratch) / "alone")
        assert [process.returncode for process in processes] == [0, 0], list(map(last_line, processes))
        alone = results(Path(scratch) / "alone")
        print("| it dies when it | process | the other ends after | with | and resumed is | it said |")
        print("| --- | --- | --- | --- | --- | --- |")
        for number, moment in enumerate(chosen):
            folder, rank = Path(scratch) / str(number), MOMENTS[moment][0]
            processes, apart = train(folder, moment)
            if processes[rank].returncode != -signal.SIGKILL:
                print(f"| {moment} | {rank} | it does not come there | | | |", flush=True)
                continue
            other = processes[1 - rank]
            code, said = other.returncode, last_line(other)
            processes, _ = train(folder)
            same = [process.returncode for process in processes] == [0, 0] and results(folder) == alone
            resumed = "the same" if same else f"**not the same**: {list(map(last_line, processes))}"
            waits = apart >= LIMIT
            after = "**waits**" if waits else f"{apart:.1f} s"
            print(
                f"| {moment} | {rank} | {after} | {'' if waits else code} | {resumed} | {said} |", flush=True
            )


def process(moment: str, arguments: list[str]) -> None:
    """What a process of a run does."""
    if moment and int(os.environ["RANK"]) == MOMENTS[moment][0]:
        _, place, calls, after = MOMENTS[moment]
        dies_at(place, calls, after) if place else die(AT_ONCE)
    from resnetbk.__main__ import main as command

    sys.argv[1:] = arguments
    command()


if __name__ == "__main__":
    process(sys.argv[2], sys.argv[3:]) if sys.argv[1:2] == ["--process"] else main()
