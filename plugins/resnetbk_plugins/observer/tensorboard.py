"""Observer `tensorboard`: scalars for TensorBoard (extra `tensorboard`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from resnetbk.hooks import RunReport, hookimpl
from resnetbk_plugins.observer.scalars import Scalars, library


@attrs.frozen(kw_only=True)
class TensorBoard:
    """Event files in `tensorboard/` of the run's folder: `tensorboard --logdir runs` shows all runs. A run
    that goes on has its steps since the checkpoint once."""

    def build(self, *, folder: Path, spec: Any) -> Events:
        return Events(folder / "tensorboard")


class Events(Scalars):
    """A writer, opened at the first report: what comes from that step on replaces what was there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: Any = None

    @hookimpl
    def resnetbk_check(self, spec: Any) -> None:
        library("tensorboard", 'pip install "resnetbk[tensorboard]"')

    @hookimpl
    def resnetbk_finished(self, run: RunReport) -> None:
        self._close()

    @hookimpl
    def resnetbk_interrupted(self, reason: str) -> None:
        self._close()

    def log(self, step: int, numbers: dict[str, float]) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=step, flush_secs=10)
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()
