"""The names of a model's parts, as specs say them."""

from __future__ import annotations


def parts_of(name: str) -> list[str]:
    """The parts that a weight belongs to, largest first, itself last: `a`, `a.b` and `a.b.c` of `a.b.c`."""
    steps = name.split(".")
    return [".".join(steps[: i + 1]) for i in range(len(steps))]
