"""kill -9 while checkpoints are written: none is lost, and the latest is the last or the one before.

Children are forked from one process that has torch loaded, which is this file run as a script.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from resnetbk.runs.checkpoint import Checkpoint, available, latest, load, prune, save
from resnetbk.runs.checkpoint_manifest import verify
from resnetbk.runs.run_folder import RunFolder

KEEP = 4


def made(step: int, version: int) -> Checkpoint:
    """Every tensor of a checkpoint says which it is, so that a mixture of two would show."""
    mark = float(1000 * step + version)
    weights = {"a": torch.full((40, 50), mark), "b": torch.full((3,), mark)}
    optimizer = {"state": {0: {"momentum": torch.full((40, 50), mark)}}}
    return Checkpoint(weights, optimizer, {"step": step, "version": version, "rng": torch.full((9,), mark)})


def loaded(path: Path) -> tuple[int, int]:
    """The step and version of a checkpoint that is all of a piece."""
    found = load(path)
    step, version = found.state["step"], found.state["version"]
    mark = 1000 * step + version
    for tensor in (*found.model.values(), found.optimizer["state"][0]["momentum"], found.state["rng"]):
        assert (tensor == mark).all()
    return step, version


# ---------------------------------------------------------------- in the child


def train(run: Path, first: int) -> None:
    """Trains for ever: a line of metrics, a checkpoint, sometimes the same one again, a word about it."""
    folder = RunFolder(run)
    with folder.writing():
        folder.rewind(first - 1)
        for step in itertools.count(first):
            folder.append_metrics({"step": step, "loss": 1 / step})
            for version in range(1 + step % 2):
                save(folder.checkpoints, step, made(step, version))
                say(f"saved {step} {version}")
            prune(run, KEEP, None)


def rewrite(run: Path, fatal: int) -> None:
    """Replaces step 2, adds step 3, prunes; killed instead of the `fatal`th thing it asks of the disk."""
    calls = itertools.count(1)

    def deadly(name: str) -> Any:
        act = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*args, **kwargs)

        return call

    for name in ("fsync", "mkdir", "rename", "replace", "unlink", "rmdir", "open"):
        setattr(os, name, deadly(name))
    save(run / "checkpoints", 2, made(2, 1))
    say("saved 2 1")
    save(run / "checkpoints", 3, made(3, 0))
    say("saved 3 0")
    prune(run, 2, None)
    say("finished")


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def zygote() -> None:
    """Forks a child, which says its pid, for each line `job folder number`, and says when it is dead."""
    for line in sys.stdin:
        job, run, number = line.split()
        child = os.fork()
        if child == 0:
            try:
                say(f"pid {os.getpid()}")
                {"train": train, "rewrite": rewrite}[job](Path(run), int(number))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        say("dead")


# ---------------------------------------------------------------- in the test


class Children:
    """Children begun one after the other, and what they say."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def begin(self, job: str, run: Path, number: int) -> int:
        assert self.process.stdin is not None
        print(job, run, number, file=self.process.stdin, flush=True)
        return int(self.hear().removeprefix("pid "))

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process that forks is gone"
        return line.strip()

    def rest(self) -> list[str]:
        return list(iter(self.hear, "dead"))


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Children(process)
        assert process.stdin is not None
        process.stdin.close()


def test_30_kills_at_random_moments_lose_nothing(children: Children, tmp_path: Path) -> None:
    run, rng = tmp_path / "run", random.Random(0)
    folder = RunFolder.create(run)
    last = (0, 0)  # what the children have said is saved
    for _ in range(30):
        child = children.begin("train", run, last[0] + 1)
        begun, saves = time.perf_counter(), rng.randrange(4)
        said = [children.hear() for _ in range(saves)]
        pace = (time.perf_counter() - begun) / saves if saves else 0.02
        time.sleep(rng.uniform(0, 1.5) * pace)  # somewhere in the next save
        os.kill(child, signal.SIGKILL)
        said += children.rest()
        last = max(last, *((int(step), int(version)) for _, step, version in map(str.split, said)), (0, 0))

        found = latest(run)
        if found is None:
            assert last == (0, 0)
            continue
        assert said == [] or names_a_checkpoint(run)
        step, version = loaded(found)
        following = {last, (last[0], 1), (last[0] + 1, 0)}
        assert (step, version) in following
        have = [loaded(path)[0] for path in available(run)]
        announced = range(max(1, last[0] - KEEP + 2), last[0] + 1)
        assert set(announced) <= set(have)
        with folder.writing():  # the lock died with its holder
            folder.rewind(step)
        assert [record["step"] for record in folder.metrics()] == list(range(1, step + 1))
        last = (step, version)
    assert last[0] >= 20
    save(folder.checkpoints, last[0] + 1, made(last[0] + 1, 0))
    assert_tidy(run)


def test_a_kill_at_every_single_step_of_saving_loses_nothing(children: Children, tmp_path: Path) -> None:
    moments = 0
    for fatal in itertools.count(1):
        run = tmp_path / str(fatal)
        save(run / "checkpoints", 1, made(1, 0))
        save(run / "checkpoints", 2, made(2, 0))
        children.begin("rewrite", run, fatal)
        said = children.rest()
        found = latest(run)
        assert found is not None
        assert names_a_checkpoint(run)
        got = loaded(found)
        have = dict(loaded(path) for path in available(run))
        assert 2 in have
        if "saved 3 0" in said:
            assert got == (3, 0)
        elif "saved 2 1" in said:
            assert got in {(2, 1), (3, 0)}
            assert have[1] == 0
        else:
            assert got in {(2, 0), (2, 1)}
            assert have[1] == 0
        save(run / "checkpoints", 4, made(4, 0))
        assert loaded(run / "checkpoints" / "step-000004") == (4, 0)
        assert_tidy(run)
        if "finished" in said:
            break
        moments += 1
    assert moments > 40


def names_a_checkpoint(run: Path) -> bool:
    return (run / "LATEST").read_text().strip() in {path.name.removesuffix(".old") for path in available(run)}


def assert_tidy(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        assert re.fullmatch(r"\.lock|step-\d{6}", path.name)
        if path.is_dir():
            verify(path)


if __name__ == "__main__":
    zygote()
