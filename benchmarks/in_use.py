"""What trained runs of a task cost in use, by group of labels: python benchmarks/in_use.py RUN...

For all held-out examples, and for those of each group of labels, by number from 0: accuracy, executed FLOPs
for a token, and the share of rows that each layer computes, of all rows and of those with labels.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import resnetbk
from resnetbk.metering.flops import FlopCounter


def main() -> None:
    for path in sys.argv[1:]:
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
        for name, chosen in parts.items():
            rows = torch.from_numpy(chosen)
            inputs, targets = batch.inputs[rows], batch.targets[rows]
            with torch.inference_mode(), FlopCounter() as counter:
                output = run.model(inputs)
            right = (output.logits.argmax(-1) == targets)[targets >= 0].float().mean()
            computed = [
                np.ones(targets.shape) if one.channel is None else one.channel.numpy()
                for one in output.layers
            ]
            shares = ", ".join(f"{one.mean():.3f} ({one[labelled[chosen]].mean():.3f})" for one in computed)
            print(f"{name:6} {float(right):8.3f} {counter.flops / inputs.numel():12,.0f}  {shares}")


if __name__ == "__main__":
    main()
