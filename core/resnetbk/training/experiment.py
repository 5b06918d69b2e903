"""A spec that can be trained: `resnetbk.load("spec.toml").train()`."""

from __future__ import annotations

from pathlib import Path

import attrs

from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry
from resnetbk.spec.lock import differences, lock, read_lock, resolved
from resnetbk.spec.spec import Spec
from resnetbk.training.run import Run
from resnetbk.training.run_folder import RunFolder
from resnetbk.training.signals import Signals
from resnetbk.training.trainer import Trainer

RUNS = Path("runs")
"""Where run folders go unless told otherwise."""


@attrs.frozen
class Experiment:
    """A spec and the registry that its components come from."""

    spec: Spec = attrs.field(repr=lambda spec: repr(spec.name))
    registry: Registry = attrs.field(repr=False)

    def train(self, out: Path | str | None = None, *, resume: bool = False, device: str = "") -> Run:
        """Trains in a run folder and gives the run: `out`, or a new one under `runs/`.

        With `resume`, goes on from the latest checkpoint in `out`, or in the newest folder under `runs/`
        of this spec's name. Raises UserError, NumericError, StorageError, Interrupted.
        """
        name = self.spec.name
        began = out is not None and Path(out).exists()
        if resume:
            folder = RunFolder.newest(RUNS, name) if out is None else RunFolder.open(Path(out))
        else:
            folder = RunFolder.fresh(RUNS, name) if out is None else RunFolder.create(Path(out))
        with Signals() as signals, folder.writing():
            try:
                trainer = (self._resumed if resume else self._started)(folder, device)
            except BaseException:
                if not resume:
                    folder.discard(keep=began)  # nothing was trained, so nothing is left behind
                raise
            report = trainer.run(signals)
        return Run(folder, self.spec, self.registry, trainer.model, trainer.data.tokenizer, report)

    def _started(self, folder: RunFolder, device: str) -> Trainer:
        trainer = Trainer(self.spec, self.registry, folder, device=device)
        folder.write_lock(lock(self.spec, self.registry, corpus_sha256=trainer.data.text.sha256))
        return trainer

    def _resumed(self, folder: RunFolder, device: str) -> Trainer:
        before = read_lock(folder.spec_lock, self.registry)
        changed = differences(resolved(before), resolved(self.spec))
        if changed:
            raise UserError(
                *(f"{folder.path}: the spec has changed since this run began: {line}" for line in changed)
            )
        trainer = Trainer(self.spec, self.registry, folder, device=device)
        trainer.resume()
        return trainer
