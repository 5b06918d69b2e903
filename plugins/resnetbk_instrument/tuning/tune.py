"""Searching settings: each spec gets as many trials as every other, each trial the spec's own training.

The trials are kept in a database (see `studies`), so that a search can be interrupted, repeated to go on, and
joined by other processes and machines. What a trial tries depends on the seed of the search, on
how many trials were before it, and on how good they were: an interrupted search goes on as if it had not
been. The first trial is the spec as it is, so that the result is no worse than it. A training
that diverges counts as a trial, and so do values that do not go together.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import numpy as np

from resnetbk.errors import NumericError, UserError
from resnetbk.files import accessing, locked, replace_own_file
from resnetbk.kinds import Text
from resnetbk.lock.lock import facts
from resnetbk.model.assemble import build
from resnetbk.registry.lookup import Registry
from resnetbk.spec.spec import Spec
from resnetbk.training.experiment import Experiment
from resnetbk.training.signals import Interrupted
from resnetbk_instrument.tuning.quality import said
from resnetbk_instrument.tuning.ranges import SearchSpace
from resnetbk_instrument.tuning.studies import database, dead, join, place, require_optuna, suggest, tell
from resnetbk_instrument.tuning.tuned import SearchResult, ended, search_result

if TYPE_CHECKING:
    from optuna import Study

TRIALS, DATABASE, LOCK = "trials.jsonl", "study.db", ".lock"


@attrs.frozen(kw_only=True)
class Search:
    """How to search: trials a spec in all, trainings a trial (seeds seed, seed + 1, ... of the spec), and the
    seed of the search."""

    trials: int
    seeds: int = 1
    seed: int = 0


class Watcher(Protocol):
    """Who is told of a search: an observer, too."""

    def begin(self, training: str) -> None: ...
    def say(self, line: str) -> None: ...


def tune(
    spaces: Sequence[SearchSpace],
    search: Search,
    registry: Registry,
    out: Path,
    *,
    storage: str | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> list[SearchResult]:
    """Searches each spec until it has `search.trials`, in turns, and writes `<name>-tuned.toml` into `out`.

    storage  of the studies, a URL of SQLAlchemy's or journal:FILE; otherwise SQLite in `out`
    command  what to write into the files as their origin
    watcher  observes the trainings, and is told of each before it and a line after each trial

    Raises UserError when the studies there were begun with other specs, corpora, components or ranges;
    StorageError, Interrupted.
    """
    require_optuna()
    origins = [_origin(space, search, registry) for space in spaces]
    _prepare(out)
    with database(storage or f"sqlite:///{out / DATABASE}") as store:
        begun = [
            (space, join(store, space, origin, out)) for space, origin in zip(spaces, origins, strict=True)
        ]
        _write_trials(out, begun)
        waiting = begun
        while waiting:
            went_on = []
            for space, study in waiting:
                if line := _one(space, study, search, registry, out, watcher):
                    _write_trials(out, begun)
                    if watcher:
                        watcher.say(line)
                    went_on.append((space, study))
            waiting = went_on
        with _alone(out):
            return [search_result(space, study, registry, out, command) for space, study in begun]


def _one(
    space: SearchSpace,
    study: Study,
    search: Search,
    registry: Registry,
    out: Path,
    watcher: Watcher | None,
) -> str:
    """One more trial of a spec, and what to say of it; "" when all it gets are done or under way."""
    with place(study, search.trials) as given:
        if given is None:
            return ""
        trial, before = given
        values = suggest(space, study, trial, before, search.seed)
        try:
            if watcher:
                watcher.begin(f"{space.name}: trial {before + 1} of {search.trials}")
            record = _trained(space, values, search.seeds, registry, out, [watcher] if watcher else [])
        except Interrupted as error:
            kept = "the trials before it are kept, and the same command goes on"
            raise Interrupted(
                error.exit_code - 128, f"interrupted in a trial of {space.name}; {kept}"
            ) from None
        tell(study, trial, record)
    result = said(record) if "loss" in record else record["reason"]
    settings = " ".join(space.assignments(values))
    count = f"trial {before + 1} of {search.trials}, {record['seconds']:.0f} s"
    return f"{space.name}: {count}: {result}  ({settings})"


def _trained(
    space: SearchSpace,
    values: Mapping[str, Any],
    seeds: int,
    registry: Registry,
    out: Path,
    watchers: Sequence[object],
) -> dict[str, Any]:
    """What the values come to, all costs summed over seeds; with a `reason` in place of a loss when they
    come to nothing."""
    started = time.perf_counter()
    reports = []
    folder = out / f".trial-{socket.gethostname()}-{os.getpid()}"
    try:
        spec = _unwatched(space.at(values, registry))
        for i in range(seeds):
            experiment = Experiment(attrs.evolve(spec, seed=spec.seed + i), registry)
            reports.append(experiment.train(folder, watchers=watchers).report)
            shutil.rmtree(folder)
    except NumericError as error:
        reason = {"reason": str(error).partition(";")[0]}  # then comes where the weights are, which go
    except UserError as error:
        reason = {"reason": error.mistakes[0].message}
    else:
        reason = {}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done = [report for report in reports if report is not None]
    accuracies = [report.accuracy for report in done if report.accuracy is not None]
    return {
        "seconds": time.perf_counter() - started,
        **{name: sum(getattr(r, name) for r in done) for name in ("cpu_seconds", "flops", "tokens")},
        "losses": [report.loss for report in done],
        **(reason or {
            "loss": float(np.mean([report.loss for report in done])),
            "bits_per_byte": float(np.mean([report.bits_per_byte for report in done])),
            "parameters": done[0].parameters,
            **({"accuracy": float(np.mean(accuracies))} if accuracies else {}),
            "reached": all(report.stopped == "target" for report in done),
        }),
    }  # fmt: skip


def _unwatched(spec: Spec) -> Spec:
    return attrs.evolve(spec, train=attrs.evolve(spec.train, observe=()))


def _origin(space: SearchSpace, search: Search, registry: Registry) -> dict[str, Any]:
    """What the trials of a study must have in common. Reads the corpus."""
    sha256 = build("data.corpus", space.spec.data.corpus, Text).sha256
    locked = facts(_unwatched(space.spec), registry, corpus_sha256=sha256)
    return {
        "spec": locked["spec"],
        "components": locked["components"],
        "corpus_sha256": sha256,
        "ranges": {key: str(span) for key, span in space.ranges.items()},
        "seeds": search.seeds,
        "seed": search.seed,
    }


def _prepare(out: Path) -> None:
    """Makes the folder. Raises UserError when something else is in it."""
    with accessing(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"{out}: is, or lies under, a file; choose another --out") from None
        names = {path.name for path in out.iterdir()}
        if names - {LOCK, DATABASE, f"{DATABASE}-journal"} and TRIALS not in names:
            raise UserError(f"{out}: holds something else than a search; choose another --out")
        for path in out.glob(".trial-*"):
            host, _, process = path.name.removeprefix(".trial-").rpartition("-")
            if process.isdecimal() and dead(host, int(process)):
                shutil.rmtree(path, ignore_errors=True)


def _write_trials(out: Path, begun: Sequence[tuple[SearchSpace, Study]]) -> None:
    """The database's trials as JSON lines."""
    with _alone(out):
        records = [record for space, study in begun for record in ended(space, study)]
        replace_own_file(out / TRIALS, "".join(f"{json.dumps(record)}\n" for record in records).encode())


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Waits until no other process writes into the folder, and keeps others waiting."""
    with accessing(out), locked(out / LOCK, wait=True):
        yield
