"""How good a trial is: what a search minimises, and how it is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def minimised(record: Mapping[str, Any]) -> float:
    """Less is better. Negative for trials whose trainings all `reached` the target of the spec: the fewer
    FLOPs, the less. For others the error rate in a task, the loss elsewhere."""
    if record.get("reached"):
        return -1 / float(record["flops"])
    return 1 - float(record["accuracy"]) if "accuracy" in record else float(record["loss"])


def said(record: Mapping[str, Any]) -> str:
    """`accuracy 0.9912, after 1.23e+12 FLOPs`: on average over the trainings, and those up to the target."""
    words = f"loss {record['loss']:.4f} nats/token"
    if "accuracy" in record:
        words = f"accuracy {record['accuracy']:.4f}"
    if record.get("reached"):
        words += f", after {record['flops'] / len(record['losses']):.3g} FLOPs"
    return words
