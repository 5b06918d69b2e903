"""What trained runs of a task cost in use, by group of labels:

python benchmarks/in_use.py RUN...
python benchmarks/in_use.py 'runs/hops-4-?' 'runs/hops-4-act-?'

For all held-out examples, and for those of each group of labels, by number from 0: accuracy, executed FLOPs
for a token, and the share of rows that each layer computes, of all rows and of those with labels. Of two
patterns: how many times fewer FLOPs a token the runs of the second need; those of the same seed are paired.
"""

from __future__ import annotations

import sys
from glob import glob

import numpy as np
import torch

import resnetbk
from resnetbk.metering.flops import FlopCounter
from resnetbk_instrument.results.statistics import ratio_interval


def cost(path: str) -> tuple[int, float]:
    """The seed of a run, and FLOPs for a token of all held-out examples. Prints those of each group."""
    run = resnetbk.open_run(path)
    data = run.data()
    task = data.text.task
    if not task:
        raise SystemExit(f"{path}: was trained on no task")
    (batch,) = data.held_out(task.valid_length, sys.maxsize, torch.device("cpu"))
    labelled = (batch.targets >= 0).numpy()
    groups = np.zeros(labelled.size) if task.group is None else np.asarray(task.group)
    first = groups.reshape(labelled.shape)[np.arange(len(labelled)), labelled.argmax(1)]
    print(f"{path}\ngroup  accuracy  FLOPs/token  rows that each layer computes, with labels in brackets")
    parts = {"all": first >= 0} | {f"{group:g}": first == group for group in np.unique(first)}
    flops = {}
    for name, chosen in parts.items():
        rows = torch.from_numpy(chosen)
        inputs, targets = batch.inputs[rows], batch.targets[rows]
        with torch.inference_mode(), FlopCounter() as counter:
            output = run.model(inputs)
        right = (output.logits.argmax(-1) == targets)[targets >= 0].float().mean()
        computed = [
            np.ones(targets.shape) if one.channel is None else one.channel.numpy() for one in output.layers
        ]
        shares = ", ".join(f"{one.mean():.3f} ({one[labelled[chosen]].mean():.3f})" for one in computed)
        flops[name] = counter.flops / inputs.numel()
        print(f"{name:6} {float(right):8.3f} {flops[name]:12,.0f}  {shares}")
    return run.spec.seed, flops["all"]


def main() -> None:
    runs = [dict(map(cost, sorted(glob(pattern)))) for pattern in sys.argv[1:]]
    if len(runs) == 2 and len(seeds := sorted(runs[0].keys() & runs[1].keys())) > 1:
        saved = ratio_interval(*([each[seed] for seed in seeds] for each in runs))
        print(f"{saved.estimate:.2f} ({saved.low:.2f} to {saved.high:.2f}), {saved.n} seeds")


if __name__ == "__main__":
    main()
