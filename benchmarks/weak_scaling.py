"""What several processes of one thread lose, over gloo: python benchmarks/weak_scaling.py [--rounds N] [SPEC]

1 process, N that know nothing of each other, and N of one run, each with the spec's batch, in turns, in every
other round in the opposite order. What is lost from 1 to N apart is the machine's; from N apart to N of one
run, communication and the wait for the slowest. Of SPEC, or of quickstart with a small model.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from processes import QUICKSTART, SMALL, together

from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read


def speed(path: str, sets: Sequence[str], size: int, runs: int) -> float:
    """Tokens/s of all runs of `size` processes that go on at the same time."""
    with ThreadPoolExecutor(runs) as pool:
        results = [each for (each,) in pool.map(lambda _: together(size, [(path, [*sets])]), range(runs))]
    for result in results:
        if isinstance(result, str):
            raise SystemExit(result)
    return sum(tokens / seconds for _, seconds, _, tokens in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("spec", nargs="?")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    options = parser.parse_args()
    path, size = options.spec or QUICKSTART, options.processes
    sets = [*([] if options.spec else SMALL), *options.sets, f"train.steps={options.steps}"]
    batch = read(path, Registry.discover(), sets).train.batch
    ways = {
        "1 process": (1, 1),
        f"{size} processes apart": (1, size),
        f"{size} processes of one run": (size, 1),
    }
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(options.rounds):
        for way in [*ways][:: -1 if number % 2 else 1]:
            joined, runs = ways[way]
            speeds[way].append(speed(path, [*sets, f"train.batch={batch * joined}"], joined, runs))
    print(f"{batch} windows for each process, {options.rounds} rounds: median (least to most)")
    for way, each in speeds.items():
        print(f"{way:28}{statistics.median(each):10,.0f} tokens/s ({min(each):,.0f} to {max(each):,.0f})")
    alone, apart, of_one = speeds.values()
    shares = {
        "of ideal": [b / a / size for a, b in zip(alone, of_one, strict=True)],
        "lost by communication": [1 - b / a for a, b in zip(apart, of_one, strict=True)],
    }
    for name, share in shares.items():
        print(f"{name:28}{statistics.median(share):10.0%} ({min(share):.0%} to {max(share):.0%})")


if __name__ == "__main__":
    main()
