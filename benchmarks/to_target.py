"""How many times fewer FLOPs runs needed than others until an evaluation of theirs first reached a target:

python benchmarks/to_target.py accuracy=0.95 'runs/shuffle-*' 'runs/bandit-*'
python benchmarks/to_target.py loss=1.9 'runs/dense-*' 'runs/hourglass-*'

Runs of the same seed are paired. FLOPs of steps count, with those of choosing data; evaluations and set-up do
not. Parent runs are charged in full and shared among 10. A run that ended or was stopped before counts with
all its FLOPs, and its best value stands in brackets: in the first place it makes the ratio a lower bound, in
the second an upper one. Each run goes by its own schedule: unlike in `resnetbk compare`, its rate need not
have decayed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from glob import glob
from pathlib import Path
from typing import Any

import attrs

import resnetbk
from resnetbk.runs.run_folder import RunFolder
from resnetbk_instrument.results.statistics import ratio_interval


@attrs.frozen
class Cost:
    """Steps and FLOPs until the target, or of all of a run that did not reach it; FLOPs of parent runs."""

    steps: int
    flops: float
    best: float
    reached: bool
    parents: float


def costs(pattern: str, key: str, target: float) -> Mapping[int, Cost]:
    """Of each run, by its seed."""
    of_seed = {}
    for path in map(Path, glob(pattern)):
        records = RunFolder.open(path).metrics()
        ends = [record["parents_cost"] for record in records if record["event"] == "finished"]
        parents = sum(end.get("flops", 0.0) for end in ends)
        of_seed[resnetbk.open_run(path).spec.seed] = cost(records, key, target, parents)
    return of_seed


def cost(records: list[dict[str, Any]], key: str, target: float, parents: float) -> Cost:
    flops, step, values, sign = 0.0, 0, [-float("inf")], 1 if key == "accuracy" else -1
    for record in records:
        if record["event"] == "step":
            step, flops = record["step"], record["flops"]
        elif record["event"] == "evaluation":
            values.append(sign * record[key])
            if values[-1] >= sign * target:
                break
    return Cost(step, flops, sign * max(values), values[-1] >= sign * target, parents)


def main() -> None:
    key, target = sys.argv[1].split("=")
    first, second = (costs(pattern, key, float(target)) for pattern in sys.argv[2:4])
    seeds = sorted(first.keys() & second.keys())
    for seed in seeds:
        each = (
            f"{one.steps} steps {one.flops / 1e12:.3f} T" + ("" if one.reached else f" ({one.best:.3f})")
            for one in (first[seed], second[seed])
        )
        print(f"seed {seed}", *each, f"{first[seed].flops / second[seed].flops:.2f}x", sep="  ")
    shares = {"": 0.0}
    if any(runs[seed].parents for runs in (first, second) for seed in seeds):
        shares = {"parent runs in full: ": 1.0, "among 10: ": 0.1, "without them: ": 0.0}
    for name, share in shares.items():
        spent = [
            [runs[seed].flops + share * runs[seed].parents for seed in seeds] for runs in (first, second)
        ]
        saved = ratio_interval(*spent)
        print(f"{name}{saved.estimate:.2f} ({saved.low:.2f} to {saved.high:.2f}), {saved.n} seeds")


if __name__ == "__main__":
    main()
