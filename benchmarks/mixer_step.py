"""A training step of one spec beside another's: python benchmarks/mixer_step.py SPEC BASELINE [key=value ...]

Steps alternate in one process. Beside wall time there is CPU time, whose ratio other programs hardly move;
it includes threads that wait, so OMP_NUM_THREADS=1 for that.
"""

from __future__ import annotations

import sys
import time

import torch
from paired import median, ratio

from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk.training.learner import Learner

WARMUP, ROUNDS = 5, 40
CLOCKS = {"wall": time.perf_counter, "CPU": time.process_time}


def step(learner: Learner) -> dict[str, float]:
    """Seconds by each clock."""
    start = {name: clock() for name, clock in CLOCKS.items()}
    learner.learn()
    learner.read()
    return {name: clock() - start[name] for name, clock in CLOCKS.items()}


def main(spec: str, baseline: str, *sets: str) -> None:
    learners = {path: Learner(read(path, Registry.discover(), sets)) for path in (spec, baseline)}
    seconds: dict[str, list[dict[str, float]]] = {path: [] for path in learners}
    for number in range(WARMUP + ROUNDS):
        for path in learners if number % 2 else reversed(learners):
            seconds[path].append(step(learners[path]))
    print(f"{torch.get_num_threads()} threads")
    for name in CLOCKS:
        taken = {path: [times[name] for times in rows[WARMUP:]] for path, rows in seconds.items()}
        a, b = taken[spec], taken[baseline]
        print(f"  {name:5} {1000 * median(a):7.1f} and {1000 * median(b):7.1f} ms: {ratio(a, b)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
