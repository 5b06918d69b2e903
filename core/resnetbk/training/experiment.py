"""A spec that can be trained: `resnetbk.load("spec.toml").train()`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import attrs
import torch

from resnetbk.errors import UserError
from resnetbk.kinds import Text
from resnetbk.lock.changes import differences
from resnetbk.lock.drift import drift
from resnetbk.lock.lock import facts, load_lock, lock, resolved
from resnetbk.model.assemble import build
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint, spec_lock
from resnetbk.runs.run_folder import RunFolder
from resnetbk.spec.spec import Spec
from resnetbk.toml_write import inline
from resnetbk.training.device import find_device, precision_on
from resnetbk.training.memory import told_if_exhausted
from resnetbk.training.peers import watched
from resnetbk.training.processes import Processes
from resnetbk.training.run import Run
from resnetbk.training.signals import Signals
from resnetbk.training.trainer import Trainer

RUNS = Path("runs")
"""Where run folders go unless told otherwise."""


@attrs.frozen
class Experiment:
    """A spec and the registry that its components come from."""

    spec: Spec = attrs.field(repr=lambda spec: repr(spec.name))
    registry: Registry = attrs.field(repr=False)

    def lock(self) -> str:
        """The spec's lock: what it resolves to, and all that its run depends on here. Reads the corpus."""
        return lock(self.spec, self.registry, corpus_sha256=self._corpus(), **here(self.spec))

    def hold_to(self, locked: Path | str, device: str = "") -> None:
        """Raises UserError, one line for each difference, unless all is as the lock at `locked` says."""
        before = load_lock(locked)
        now = facts(self.spec, self.registry, corpus_sha256=self._corpus(), **here(self.spec, device))
        if drifts := drift(before, now):
            raise UserError(*(f"{locked}: {difference.line('lock again')}" for difference in drifts))

    def train(
        self,
        out: Path | str | None = None,
        *,
        resume: bool | Literal["auto"] = False,
        device: str = "",
        locked: Path | str | None = None,
        strict_flops: bool = False,
        watchers: Sequence[object] = (),
    ) -> Run:
        """Trains in a run folder and gives the run: `out`, or a new one under `runs/`.

        With `resume`, goes on from the latest checkpoint in `out`, or in the newest folder under `runs/` of
        this spec's name; with "auto", begins where there is none. With `locked`, `hold_to` that first. With
        `strict_flops`, refuses operators whose FLOPs cannot be counted, which else are a warning. `watchers`
        observe it (see `resnetbk.hooks`) besides those that the spec lists. Raises UserError, NumericError,
        StorageError, Interrupted. In every process that torchrun starts, the same run.
        """
        if locked is not None:
            self.hold_to(locked, device)
        processes = Processes.here()
        processes.check(self.spec)
        if resume == "auto":
            resume = bool(processes.gather(processes.first and self._can_resume(out))[0])
        existed = out is not None and Path(out).exists()
        own = self._folder(out, resume) if processes.first else None
        begun = bool(own and resume and (checkpoint.available(own.path) or own.metrics_file.exists()))
        path, begun = processes.gather([str(own and own.path), begun])[0]
        folder = RunFolder(Path(path))
        writing = folder.writing() if processes.first else nullcontext()
        with watched(processes), writing, told_if_exhausted():
            try:
                if resume:
                    self._same_spec(folder)
                    self._same_sources(folder, device)
                trainer = Trainer(
                    self.spec,
                    self.registry,
                    folder,
                    device=device,
                    processes=processes,
                    strict_flops=strict_flops,
                    watchers=watchers,
                )
                if begun:
                    trainer.resume()
                elif processes.first:
                    given = here(self.spec, device) | {"corpus_sha256": trainer.learner.data.text.sha256}
                    folder.write_lock(lock(self.spec, self.registry, **given))
            except BaseException:
                if not resume and processes.first:
                    folder.discard(keep=existed)  # nothing was trained, so nothing is left behind
                raise
            with Signals() as signals:  # until now there is nothing to save
                report = trainer.run(signals)
        model, data = trainer.learner.model.eval(), trainer.learner.data
        if trainer.learner.lockstep:  # no process can use it alone
            model = Run.open(folder.path, self.registry).model
        return Run(folder, self.spec, self.registry, model, data.tokenizer, report, data)

    def _folder(self, out: Path | str | None, resume: bool) -> RunFolder:
        if resume:
            return RunFolder.newest(RUNS, self.spec.name) if out is None else RunFolder.open(Path(out))
        return RunFolder.fresh(RUNS, self.spec.name) if out is None else RunFolder.create(Path(out))

    def _can_resume(self, out: Path | str | None) -> bool:
        with suppress(UserError):
            return bool(self._folder(out, resume=True))
        return False

    def _same_spec(self, folder: RunFolder) -> None:
        """Raises UserError, one line for each difference, unless the run began with this spec."""
        before = spec_lock.read(folder, self.registry)
        changed = differences(resolved(before), resolved(self.spec))
        if changed:
            start = inline({"use": "NAME", "path": str(folder.path)})
            raise UserError(
                *(f"{folder.path}: the spec has changed since this run began: {line}" for line in changed),
                "Take that back, or begin another run with these weights and a schedule of its own: without"
                f" --resume, with --set 'train.start={start}', NAME being an initializer that starts from a"
                " run (resnetbk list initializer)",
            )

    def _same_sources(self, folder: RunFolder, device: str) -> None:
        """Raises UserError when a component's code is not what the run began with. Observers, which change
        nothing, and the environment, which may change the last digits, are warned of in one line."""
        now = facts(self.spec, self.registry, **here(self.spec, device))
        drifts = drift(load_lock(folder.spec_lock), now)
        refused = [d for d in drifts if d.about == "source" and not d.key.startswith("train.observe")]
        if refused:
            raise UserError(*(f"{folder.path}: {d.line('start a new run')}" for d in refused))
        others = [str(d) for d in drifts if d.about != "spec"]
        if others:
            message = "%s: resumes with other than it began with: %s"
            logging.getLogger("resnetbk").warning(message, folder.path, ", ".join(others))

    def _corpus(self) -> str:
        return build("data.corpus", self.spec.data.corpus, Text).sha256


def here(spec: Spec, device: str = "") -> dict[str, Any]:
    """What a lock says of this process: its threads, and the precision, where the spec leaves it open."""
    precision = precision_on(find_device(device), "auto") if spec.train.precision == "auto" else None
    return {"threads": torch.get_num_threads(), "precision": precision}
