"""The database of a search: one study a spec, shared by any number of processes and machines.

All of optuna (the extra `tune`) that is used is here. Trials that complete or are pruned (diverged, or values
that do not go together) have had their place among the trials of a study; so have running ones. A trial that
fails (interrupted, or its process died) gives its place back.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetbk.errors import StorageError, UserError, printable
from resnetbk.lock.changes import differences
from resnetbk_instrument.tuning.quality import minimised
from resnetbk_instrument.tuning.ranges import Choices, SearchSpace

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial, Trial

BEAT, LOST = 20.0, 600.0
"""Seconds between signs of life of a trial, and those without one after which it gives its place back."""

ATTEMPTS = 5
"""To open the database."""

JOURNAL = "journal:"
"""What the path of a journal follows: a file that grows by a line for each change, for shared folders where
SQLite's locks do not hold."""

OWN = ("worker", "seen")
"""What a trial's attributes hold for us rather than for the reader."""


def require_optuna() -> None:
    """Raises UserError when it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError('tune searches with optuna: pip install "resnetbk[tune]"') from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # trials are said by us


@contextmanager
def database(url: str) -> Iterator[BaseStorage]:
    """The database at a URL of SQLAlchemy's, or at `journal:FILE`. Raises UserError, StorageError, whenever
    it fails."""
    if url.startswith(JOURNAL):
        yield _journal(url.removeprefix(JOURNAL))
        return
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        store = _opened(url)
        try:
            yield store
        finally:
            store.remove_session()
            store.engine.dispose()
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StorageError(f"the database of the search: {_line(error.__cause__ or error)}") from error


def _journal(path: str) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if not path:
        raise UserError("--storage: a journal needs a file, as in journal:search.log")
    try:
        # the lock of a process that died is broken after 30 s
        return JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))
    except OSError as error:
        raise StorageError(f"the journal of the search: {_line(error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--storage: {printable(path)} is no journal of a search: {_line(error)}") from None


def _opened(url: str) -> RDBStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    # several processes may write to one file: each waits for its turn
    arguments = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    for _ in range(ATTEMPTS - 1):
        try:
            return RDBStorage(url, engine_kwargs=arguments)
        except ImportError as error:
            raise UserError(
                f"--storage: its driver is not installed, install it with pip: {_line(error)}"
            ) from None
        except (ArgumentError, NoSuchModuleError, ValueError, RuntimeError) as error:
            raise UserError(f"--storage: {_line(error)}") from None
        except (
            SQLAlchemyError
        ):  # another process makes the tables at this moment, or it is really out of reach
            time.sleep(0.3)
    return RDBStorage(url, engine_kwargs=arguments)


def join(store: BaseStorage, space: SearchSpace, origin: Mapping[str, Any], out: Path) -> Study:
    """The study of a spec, begun or joined. Raises UserError when it was begun with another origin."""
    import optuna

    study = optuna.create_study(storage=store, study_name=f"resnetbk/{space.name}", load_if_exists=True)
    if "origin" not in study.user_attrs:
        study.set_user_attr("origin", origin)
    changed = differences(study.user_attrs["origin"], json.loads(json.dumps(origin)))
    if changed:
        other = "take the change back, or choose another --out or --storage"
        raise UserError(
            *(f"{out}: {space.name}: not as the search began: {line}; {other}" for line in changed)
        )
    return study


def counted(study: Study) -> list[FrozenTrial]:
    """The trials that have a place, by number."""
    from optuna.trial import TrialState

    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return sorted(study.get_trials(deepcopy=False, states=states), key=lambda trial: trial.number)


@contextmanager
def place(study: Study, places: int) -> Iterator[tuple[Trial, int] | None]:
    """A new trial with its place from 0, or None when all are taken. Whoever is given one tells its
    result; when this is left by an exception, the place is given back."""
    from optuna.trial import TrialState

    _reclaim(study)
    if len(counted(study)) >= places:
        yield None
        return
    trial = study.ask()
    try:
        trial.set_user_attr("worker", [socket.gethostname(), os.getpid()])
        # another process may have begun one at the same moment: the lower number comes first
        before = sum(other.number < trial.number for other in counted(study))
        if before >= places:
            study.tell(trial, state=TrialState.FAIL)
            yield None
        else:
            with _signs_of_life(trial):
                yield trial, before
    except BaseException:
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise


def suggest(space: SearchSpace, study: Study, trial: Trial, before: int, seed: int) -> dict[str, Any]:
    """The values to try: the spec's own first, then as a tree-structured Parzen estimator for each key says,
    which depends on `seed`, the place and the trials before."""
    import warnings

    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler

    own_seed = int(np.random.SeedSequence((seed, before)).generate_state(1)[0])
    sampler: BaseSampler = TPESampler(seed=own_seed)
    if before == 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = PartialFixedSampler(space.own(), sampler)
    study.sampler = sampler
    values: dict[str, Any] = {}
    for key, span in space.ranges.items():
        if isinstance(span, Choices):
            values[key] = trial.suggest_categorical(key, span.values)
        elif span.integer:
            values[key] = trial.suggest_int(key, int(span.low), int(span.high), log=span.log)
        else:
            values[key] = trial.suggest_float(key, span.low, span.high, log=span.log)
    return values


def tell(study: Study, trial: Trial, record: Mapping[str, Any]) -> None:
    """Keeps the result of a trial: a `loss`, or a `reason` why there is none."""
    from optuna.trial import TrialState

    for name, value in record.items():
        trial.set_user_attr(name, value)
    if "loss" in record:
        study.tell(trial, minimised(record))
    else:
        study.tell(trial, state=TrialState.PRUNED)  # unlike a failed one, it steers the search away


def dead(host: str, process: int) -> bool:
    """Whether a process of this machine is no more, or a zombie."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    with suppress(OSError):  # it ended meanwhile, or this system has no /proc
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0] in "ZX"
    return False


def _reclaim(study: Study) -> None:
    """Gives back the places of running trials whose process died."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, process = trial.user_attrs.get("worker", ("", 0))
        began = trial.datetime_start.timestamp() if trial.datetime_start else time.time()
        silent = time.time() - trial.user_attrs.get("seen", began)
        if dead(host, process) or silent > LOST:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


@contextmanager
def _signs_of_life(trial: Trial) -> Iterator[None]:
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT):
            with suppress(Exception):  # the next one may come through
                trial.set_user_attr("seen", time.time())

    trial.set_user_attr("seen", time.time())
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _line(error: BaseException) -> str:
    return printable(str(error).partition("\n")[0])
