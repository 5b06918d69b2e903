"""Observer `jsonl`: every step, evaluation and the end, as lines of the run's metrics.jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from resnetbk.hooks import EvaluationReport, RunReport, StepReport, hookimpl

if TYPE_CHECKING:
    from resnetbk.runs.run_folder import RunFolder


@attrs.frozen(kw_only=True)
class JSONLines:
    """A JSON object per line: `event` (`step`, `evaluation`, `finished`), `step`, the report's fields, and
    `layers`."""

    def build(self, *, folder: Path, spec: Any) -> MetricsWriter:
        from resnetbk.runs.run_folder import RunFolder

        return MetricsWriter(RunFolder(folder))


class MetricsWriter:
    """Writes each line at once, so that a run that ends early has recorded all its reports."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @hookimpl
    def resnetbk_step(self, report: StepReport) -> None:
        self.folder.append_metrics({"event": "step", **attrs.asdict(report), "layers": sum(report.rows)})

    @hookimpl
    def resnetbk_evaluated(self, report: EvaluationReport) -> None:
        self.folder.append_metrics(
            {"event": "evaluation", **attrs.asdict(report), "layers": sum(report.rows)}
        )

    @hookimpl
    def resnetbk_finished(self, run: RunReport) -> None:
        record = attrs.asdict(run)
        del record["folder"]  # a run may be moved
        self.folder.append_metrics({"event": "finished", "step": record.pop("steps"), **record})
