"""Observer `trackio`: a run in trackio, a tracker on this machine, without an account (extra `trackio`)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import attrs

from resnetbk.hooks import RunReport, hookimpl
from resnetbk.terminal import standard_error
from resnetbk_plugins.observer.scalars import Scalars, library


@attrs.frozen(kw_only=True)
class Trackio:
    """The resolved spec as configuration, and every step and evaluation; `trackio show` shows them.

    project  where the run belongs
    """

    project: str = "resnetbk"

    def build(self, *, folder: Path, spec: Any) -> Reporter:
        return Reporter(self.project, folder.name, spec)


class Reporter(Scalars):
    """Begins at the first report, so that whatever fails there leaves the run alone."""

    def __init__(self, project: str, name: str, spec: Any) -> None:
        self.project, self.name, self.spec = project, name, spec
        self.module: Any = None
        self.run: Any = None

    @hookimpl
    def resnetbk_check(self, spec: Any) -> None:
        self.module = library("trackio", 'pip install "resnetbk[trackio]"')

    @hookimpl
    def resnetbk_finished(self, run: RunReport) -> None:
        self._finish()

    @hookimpl
    def resnetbk_interrupted(self, reason: str) -> None:
        self._finish()

    def log(self, step: int, numbers: dict[str, float]) -> None:
        if self.run is None:
            from resnetbk.lock.lock import resolved

            with contextlib.redirect_stdout(standard_error()):  # where its greeting is no result
                self.run = self.module.init(
                    project=self.project,
                    name=self.name,
                    config=resolved(self.spec),
                    resume="allow",
                    embed=False,
                )
        self.run.log(numbers, step=step)

    def _finish(self) -> None:
        if self.run is not None:
            with contextlib.redirect_stdout(standard_error()):
                self.run.finish()
