"""Observer `first-losses`: ends a run early, which its learning rate schedule does not know of."""

import json
from pathlib import Path

import attrs

from resnetbk.hooks import hookimpl

STEPS = 20


class Enough(BaseException):
    """No Exception, since those of observers do not end a run."""


@attrs.frozen
class FirstLosses:
    path: str

    def build(self, *, folder, spec):
        return Observer(Path(self.path))


class Observer:
    def __init__(self, path: Path) -> None:
        self.path, self.losses = path, []

    @hookimpl
    def resnetbk_step(self, report):
        self.losses.append(report.loss)
        if len(self.losses) == STEPS:
            self.path.write_text(json.dumps(self.losses))
            raise Enough
