"""Several processes of one thread beside one, over gloo: python benchmarks/processes.py [--steps N] [SPEC...]

The losses of 2 and 4 processes beside those of one with the same batch, as the largest relative difference
over all steps: of the specs named, or of quickstart with one part exchanged at a time.

With --weak ROUNDS weak scaling instead, of the first spec: 1 process, N that know nothing of each other, and
N of one run, each with the spec's batch, in turns, in every other round in the opposite order. What is lost
from 1 to N apart is the machine's; from N apart to N of one run, communication and the wait for the slowest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from resnetbk.errors import UserError, one_line
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk.training.learner import Learner
from resnetbk.training.processes import Processes

QUICKSTART = str(Path(__file__).parents[1] / "specs" / "quickstart.toml")
SMALL = [
    "model.width=64",
    "model.depth=2",
    "model.mixer={use='bk-causal', chains=16}",
    "train.precision='fp32'",
]
PARTS = {
    "as it is": [],
    "attention": ["model.mixer='attention'"],
    "bk-moebius": ["model.mixer={use='bk-moebius', chains=16}"],
    "moe": ["model.channel='moe'"],
    "halting": ["model.halting='act'"],
    "gate": ["model.gate='top-rate'"],
    "ngram-hash": ["model.embedding='ngram-hash'"],
    "every-k": ["train.gradient={use='every-k', every=2}"],
    "active": ["data.selector='active'"],
    "curriculum": ["data.selector='curriculum'"],
    "excess-loss": ["data.selector='excess-loss'"],
    "adamw": ["train.optimizer='adamw'"],
}
Case = tuple[str, list[str]]
"""A spec and what is set in it."""
WARM_UP = 3
"""Steps whose time does not count."""


def train(path: str, sets: Sequence[str]) -> Any:
    """The losses; and the tokens/s of the steps after the warm-up. Or why it cannot be."""
    try:
        spec = read(path, Registry.discover(), sets)
        learner = Learner(spec, device="cpu", processes=Processes.here())
    except UserError as error:
        return one_line(error)
    losses: list[float] = []
    for step in range(spec.train.steps or 0):
        if step == WARM_UP:
            tokens, began = learner.tokens, time.perf_counter()
        learner.learn()
        reports, bad = learner.read()
        if bad:
            return f"step {step}: {bad.wrong}"
        losses += [report.loss for report in reports]
    return losses, (learner.tokens - tokens) / (time.perf_counter() - began)


def work(rank: int, size: int, port: int, cases: Sequence[Case], results: Any) -> None:
    """In a process of its own: trains all cases, and the first process puts what each gave."""
    torch.set_num_threads(1)
    places = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    for case in cases:
        result = train(*case)
        if rank == 0:
            results.put(result)


def together(size: int, cases: Sequence[Case], runs: int = 1) -> list[Any]:
    """What `train` gives for each case in the first of `size` processes; of several runs at the same time, in
    the order in which they end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    given = (size, port, cases, results)
    ranks = [*range(size)] * runs
    processes = [context.Process(target=work, args=(rank, *given), daemon=True) for rank in ranks]
    for process in processes:
        process.start()
    said = [results.get(timeout=600) for _ in range(len(cases) * runs)]
    for process in processes:
        process.join()
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--weak", type=int, metavar="ROUNDS", default=0)
    options = parser.parse_args()
    steps = f"train.steps={max(options.steps, WARM_UP + 1)}"
    cases = {name: (QUICKSTART, [*SMALL, *sets, steps]) for name, sets in PARTS.items()}
    if options.specs:
        cases = {spec: (spec, [steps]) for spec in options.specs}
    if options.weak:
        weak(next(iter(cases.values())), options.sizes[0], options.weak)
        return
    sizes = [1, *options.sizes]
    results = {size: together(size, [*cases.values()]) for size in sizes}
    print(f"{'loss, relative difference':28}" + "".join(f"{size:>10} pr." for size in options.sizes))
    for number, name in enumerate(cases):
        alone, *others = (results[size][number] for size in sizes)
        shown = [f"{_difference(alone, other):>14}" for other in others]
        print(f"{name:28}{' '.join(shown)}")


def weak(case: Case, size: int, rounds: int) -> None:
    """Prints the tokens/s of one process, of `size` apart and of `size` of one run, and what they lose."""
    path, sets = case
    batch = read(path, Registry.discover(), sets).train.batch
    ways = {
        "1 process": (1, 1),
        f"{size} processes apart": (1, size),
        f"{size} processes of one run": (size, 1),
    }
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in [*ways][:: -1 if number % 2 else 1]:
            of_one, runs = ways[way]
            results = together(of_one, [(path, [*sets, f"train.batch={batch * of_one}"])], runs)
            if isinstance(results[0], str):
                raise SystemExit(results[0])
            speeds[way].append(sum(speed for _, speed in results))
    alone, apart, joined = speeds.values()
    print(f"weak scaling, {batch} windows for each process, {rounds} rounds: median (least to most)")
    for way, each in speeds.items():
        print(f"{way:28}{statistics.median(each):10,.0f} tokens/s ({min(each):,.0f} to {max(each):,.0f})")
    shares = {
        "of ideal": [b / a / size for a, b in zip(alone, joined, strict=True)],
        "lost by communication": [1 - b / a for a, b in zip(apart, joined, strict=True)],
    }
    for name, share in shares.items():
        print(f"{name:28}{statistics.median(share):10.0%} ({min(share):.0%} to {max(share):.0%})")


def _difference(alone: Any, other: Any) -> str:
    for result in (alone, other):
        if isinstance(result, str):
            return result
    return f"{max(abs(b - a) / abs(a) for a, b in zip(alone[0], other[0], strict=True)):.1e}"


if __name__ == "__main__":
    main()
