"""What a training and the trained model are charged with: one record for each cost.

Whatever measures, compares, asks for or shows costs goes over this table. A new cost is a record here, and a
number where trainings are measured (`session/runner.py`).
"""

from __future__ import annotations

import attrs

Units = tuple[tuple[float, str], ...]
"""Sizes and names of the units of a quantity, the smallest first."""

COUNT: Units = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
BYTES: Units = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))
_TIME: Units = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))
_TIME_PER_TOKEN: Units = ((1e-9, "ns/token"), (1e-6, "µs/token"), (1e-3, "ms/token"), (1.0, "s/token"))
_FLOPS: Units = ((1e6, "MFLOP"), (1e9, "GFLOP"), (1e12, "TFLOP"), (1e15, "PFLOP"), (1e18, "EFLOP"))
_FLOPS_PER_TOKEN: Units = tuple((size, f"{prefix}FLOP/token") for size, prefix in COUNT)


@attrs.frozen
class Cost:
    """One cost.

    key        its name in files and after --equal
    title      what a page calls it
    plural     whether there are fewer of it, not less
    inference  of the trained model, for each token that it reads; else of the training
    exact      the same however fast the machine is
    shown      its ratios are shown; losses are drawn against it and it can be a budget, if of the training
    """

    key: str
    title: str
    units: Units
    plural: bool = attrs.field(default=False, kw_only=True)
    inference: bool = attrs.field(default=False, kw_only=True)
    exact: bool = attrs.field(default=False, kw_only=True)
    shown: bool = attrs.field(default=True, kw_only=True)

    @property
    def less(self) -> str:
        """What a ratio above 1 is called."""
        return f"{'fewer' if self.plural else 'less'} {self.title}"

    @property
    def more(self) -> str:
        """What a ratio below 1 is called."""
        return f"more {self.title}"


COSTS = {
    cost.key: cost
    for cost in (
        Cost("seconds", "time", _TIME),
        Cost("cpu_seconds", "CPU time", _TIME, shown=False),
        Cost("flops", "FLOPs", _FLOPS, plural=True, exact=True),
        Cost("tokens", "tokens", COUNT, plural=True, exact=True),
        Cost("inference_seconds", "inference time", _TIME_PER_TOKEN, inference=True),
        Cost("inference_flops", "inference FLOPs", _FLOPS_PER_TOKEN, plural=True, exact=True, inference=True),
    )
}
"""By key: seconds are wall seconds, FLOPs those executed, tokens those trained on."""

MAIN = next(iter(COSTS))
"""The cost that headlines and ablations go by."""

SHOWN = tuple(cost for cost in COSTS.values() if cost.shown)
TRAINING = tuple(cost for cost in SHOWN if not cost.inference)
INFERENCE = tuple(cost for cost in SHOWN if cost.inference)
