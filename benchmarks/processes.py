"""Several processes of one thread beside one, over gloo: python benchmarks/processes.py [--steps N] [SPEC...]

For each `train.parallel` first the losses of 2 and 4 processes beside those of one with the same batch, as
the largest relative difference over all steps: of the specs named, or of quickstart with one part exchanged
at a time. The first column is what rounding alone does: one process that takes each batch in two halves.
Then weak scaling: batch and processes grow together. Communication holds the wait for the slowest process,
and of N processes at most as many run at once as there are cores. It is that of losses, gradients and layers'
weights; not what Muon gathers with "ddp" and "fsdp", which torch calls otherwise.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed

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
    "data.window=64",
    "train.batch=8",
    "train.optimizer={use='adamw', lr=0.001}",  # with 0.005 rounding grows a thousandfold in some parts
]
SKILLS = ["data.corpus={use='zipf-skills', skills=6}", "data.window=34"]
MIXERS = ("bk-moebius", "bk-resolvent", "gated-linear", "gated-diagonal", "attention")
PARTS = {
    "as it is": [],
    "bf16": ["train.precision='bf16'"],
    **{name: [f"model.mixer='{name}'"] for name in MIXERS},
    "attention-to-all, loops": ["model.mixer='attention-to-all'", "model.share='layers'"],
    "attention-to-cached": [
        "model.mixer='attention-to-cached'",
        "model.share='layers'",
        "model.halting='act'",
    ],
    **{name: [f"model.channel='{name}'"] for name in ("swiglu", "moe", "memory")},
    **{name: [f"model.halting='{name}'"] for name in ("act", "ponder")},
    "confidence": ["model.halting={use='confidence', drop=0.0}"],  # layers that are dropped are drawn
    "fixed": ["model.halting={use='fixed', layers=1}"],
    **{name: [f"model.gate='{name}'"] for name in ("gumbel", "top-rate", "saliency")},
    "hourglass": ["model.depth=3", "model.resolution={use='hourglass', layers=[1, 1, 1], factor=2}"],
    "boundary": ["model.depth=3", "model.resolution={use='boundary', layers=[1, 1, 1]}"],
    "marks": ["model.depth=3", "model.resolution={use='marks', layers=[1, 1, 1]}"],
    **{name: [f"model.embedding='{name}'"] for name in ("table", "learned-positions", "ngram-hash")},
    "accumulate": ["train.gradient={accumulate=2}"],
    "every-k": ["train.gradient={use='every-k', every=2}"],
    "truncated": ["train.gradient='truncated'", "model.share='layers'"],
    **{name: [f"train.gradient='{name}'"] for name in ("selective", "cached")},
    **{name: [f"data.selector='{name}'"] for name in ("curriculum", "excess-loss", "grow", "reverse")},
    # an untrained model is as unsure of every window, and rounding would choose
    "active": ["data.selector={use='active', warmup=0.5}"],
    **{name: [*SKILLS, f"data.selector='{name}'"] for name in ("bandit", "baby-steps")},
    "muon": ["train.optimizer={use='muon', lr=0.02}"],
    "torch's Adagrad": ["train.optimizer={use='torch', name='Adagrad'}"],
    "clip, average": ["train.clip=0.1", "train.average=0.9"],
}
COLLECTIVES = ("all_reduce", "all_gather", "broadcast", "all_gather_into_tensor", "reduce_scatter_tensor")
HALVES = "train.gradient.accumulate=2"
MODES = ("average", "ddp", "fsdp")
Case = tuple[str, list[str]]
"""A spec and what is set in it."""
WARM_UP = 3
"""Steps whose time does not count."""


communicated = 0.0
"""Seconds that this process has spent in collectives."""


def timed(collective: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(collective)
    def call(*given: Any, **named: Any) -> Any:
        global communicated
        began = time.perf_counter()
        try:
            return collective(*given, **named)
        finally:
            communicated += time.perf_counter() - began

    return call


def train(path: str, sets: Sequence[str]) -> Any:
    """The losses; and seconds, seconds in communication and tokens of the steps after the warm-up. Or why
    it cannot be."""
    try:
        spec = read(path, Registry.discover(), sets)
        learner = Learner(spec, device="cpu", processes=Processes.here())
    except UserError as error:
        return one_line(error)
    losses: list[float] = []
    for step in range(spec.train.steps or 0):
        if step == WARM_UP:
            before, tokens, began = communicated, learner.tokens, time.perf_counter()
        learner.learn()
        reports, bad = learner.read()
        if bad:
            return f"step {step}: {bad.wrong}"
        losses += [report.loss for report in reports]
    return losses, time.perf_counter() - began, communicated - before, learner.tokens - tokens


def work(rank: int, size: int, port: int, cases: Sequence[Case], results: Any) -> None:
    """In a process of its own: trains all cases, and the first process puts what each gave."""
    torch.set_num_threads(1)
    places = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    for name in COLLECTIVES:
        setattr(distributed, name, timed(getattr(distributed, name)))
    for case in cases:
        result = train(*case)
        if rank == 0:
            results.put(result)


def together(size: int, cases: Sequence[Case]) -> list[Any]:
    """What `train` gives for each case in the first of `size` processes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    given = (size, port, cases, results)
    processes = [context.Process(target=work, args=(rank, *given), daemon=True) for rank in range(size)]
    for process in processes:
        process.start()
    said = [results.get(timeout=600) for _ in cases]
    for process in processes:
        process.join()
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--parallel", choices=MODES, nargs="+", default=MODES)
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=[*PARTS])
    options = parser.parse_args()
    steps = f"train.steps={max(options.steps, WARM_UP + 1)}"
    cases = {
        name: (QUICKSTART, [*SMALL, *sets, steps]) for name, sets in PARTS.items() if name in options.parts
    }
    if options.specs:
        cases = {spec: (spec, [steps]) for spec in options.specs}
    path, sets = next(iter(cases.values()))
    batch = read(path, Registry.discover(), sets).train.batch
    # the last one of each size is the first case, with a batch that grows along
    results = {1: together(1, [*cases.values(), (path, sets)])}
    halves = together(1, [(spec, [*given, HALVES]) for spec, given in cases.values()])
    for parallel in options.parallel:
        mode = f"train.parallel='{parallel}'"
        for size in options.sizes:
            all_cases = [*cases.values(), (path, [*sets, f"train.batch={batch * size}"])]
            results[size] = together(size, [(spec, [*given, mode]) for spec, given in all_cases])
        heads = ("1, halves", *map(str, options.sizes))
        print(f"\n{parallel}\n{'difference, processes:':28}" + "".join(f"{head:>14}" for head in heads))
        for number, name in enumerate(cases):
            alone, *others = (results[size][number] for size in (1, *options.sizes))
            shown = [f"{_difference(alone, other):>13}" for other in (halves[number], *others)]
            print(f"{name:28}{' '.join(shown)}")
        print("\nweak scaling:  processes   batch   tokens/s   of ideal   communication")
        single = 0.0
        for size in (1, *options.sizes):
            _, seconds, waited, tokens = results[size][-1]
            speed = tokens / seconds
            single = single or speed
            ideal = speed / single / size
            print(f"{size:24} {batch * size:7} {speed:10,.0f} {ideal:10.0%} {waited / seconds:15.0%}")


def _difference(alone: Any, other: Any) -> str:
    for result in (alone, other):
        if isinstance(result, str):
            return result
    return f"{max(abs(b - a) / abs(a) for a, b in zip(alone[0], other[0], strict=True)):.1e}"


if __name__ == "__main__":
    main()
