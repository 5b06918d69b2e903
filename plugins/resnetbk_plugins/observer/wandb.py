"""Observer `wandb`: a run in Weights & Biases (extra `wandb`)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Literal

import attrs

from resnetbk.files import read_file, replace_own_file
from resnetbk.hooks import RunReport, hookimpl
from resnetbk_plugins.observer.scalars import Scalars, library

ID = "wandb-id"
"""The file in the run's folder by which a run that goes on is the same one there."""


@attrs.frozen(kw_only=True)
class WandB:
    """The resolved spec as configuration, and every step and evaluation.

    project  where the run belongs
    mode     `offline` writes into the run's folder only, from where `wandb sync` takes it; `online` wants an
             account
    """

    project: str = "resnetbk"
    mode: Literal["online", "offline"] = "online"

    def build(self, *, folder: Path, spec: Any) -> Reporter:
        return Reporter(folder, spec, project=self.project, mode=self.mode)


class Reporter(Scalars):
    """Begins at the first report, so that whatever fails there leaves the run alone."""

    def __init__(self, folder: Path, spec: Any, **where: str) -> None:
        self.folder, self.spec, self.where = folder, spec, where
        self.module: Any = None
        self.run: Any = None

    @hookimpl
    def resnetbk_check(self, spec: Any) -> None:
        self.module = library("wandb", 'pip install "resnetbk[wandb]"')

    @hookimpl
    def resnetbk_finished(self, run: RunReport) -> None:
        if self.run is not None:
            self.run.finish()

    @hookimpl
    def resnetbk_interrupted(self, reason: str) -> None:
        if self.run is not None:
            self.run.finish(exit_code=1)

    def log(self, step: int, numbers: dict[str, float]) -> None:
        if self.run is None:
            from resnetbk.lock.lock import resolved

            self.run = self.module.init(
                dir=str(self.folder), id=self._id(), resume="allow", name=self.folder.name,
                config=resolved(self.spec), settings=self.module.Settings(console="off"), **self.where,
            )  # fmt: skip
        self.run.log(numbers, step=step)

    def _id(self) -> str:
        path = self.folder / ID
        if not path.exists():
            replace_own_file(path, uuid.uuid4().hex[:8].encode())
        return read_file(path, 64).decode("ascii")
