"""Reports as numbers by name, as trackers take them: `train/loss`, `valid/accuracy` and so on."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import Any

from resnetbk.errors import UserError
from resnetbk.hooks import EvaluationReport, StepReport, hookimpl


class Scalars(ABC):
    """An observer that hands the numbers of each report to `log`."""

    @abstractmethod
    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Takes the numbers of a step, by name."""

    @hookimpl
    def resnetbk_step(self, report: StepReport) -> None:
        self.log(report.step, of_step(report))

    @hookimpl
    def resnetbk_evaluated(self, report: EvaluationReport) -> None:
        self.log(report.step, of_evaluation(report))


def of_step(report: StepReport) -> dict[str, float]:
    """Of one step; `layers` is how many ran for a token."""
    names = ("loss", "rate", "gradient_norm", "tokens", "seconds", "flops")
    numbers = {f"train/{name}": float(getattr(report, name)) for name in names}
    penalties = {f"train/penalty {name}": value for name, value in report.penalties.items()}
    return numbers | penalties | {"train/layers": sum(report.rows)}


def of_evaluation(report: EvaluationReport) -> dict[str, float]:
    """Of one evaluation; accuracies are a task's, other losses those of parts of a text."""
    numbers = {"valid/loss": report.loss, "valid/bits_per_byte": report.bits_per_byte}
    quality = "loss"
    if report.accuracy is not None:
        quality = "accuracy"
        numbers["valid/accuracy"] = report.accuracy
    return numbers | {f"valid/{quality} {group}": value for group, value in report.groups.items()}


def library(name: str, install: str) -> Any:
    """The module of a tracker. Raises UserError, saying how to install it, where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"{name}: needs the package {name}: {install}") from None
