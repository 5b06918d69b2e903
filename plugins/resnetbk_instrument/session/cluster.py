"""Trainings of a comparison on the workers of a dask cluster: a local one, or one at an address.

All of dask.distributed (the extra `cluster`) that is used is here, behind concurrent.futures. The session
decides as it does alone, in the same order; only its trainings run elsewhere, those that it is going to ask
for ahead of time. Specs go to workers as TOML, and outcomes come back as JSON: nothing of ours is pickled. A
worker that is lost costs its training, which another one does again.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import platform
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import attrs
import cattrs
import torch

from resnetbk.errors import NumericError, ResnetbkError, StorageError, UserError
from resnetbk.files import spelled
from resnetbk.kinds import Text
from resnetbk.lock.changes import differences
from resnetbk.lock.lock import dump, facts
from resnetbk.model.assemble import build
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk.spec.spec import Spec
from resnetbk.training.experiment import here
from resnetbk.training.signals import Interrupted, Signals
from resnetbk_instrument.results.comparison import Outcome
from resnetbk_instrument.session.runner import machine, runner

WAIT = 0.3
"""Seconds after which it is checked again whether a signal came while a worker trains."""

JOINING = "60s"
"""How long the scheduler may take to answer, and a first worker to be there."""

ERRORS: Mapping[str, type[ResnetbkError]] = {
    error.__name__: error for error in (UserError, NumericError, StorageError)
}
"""What a worker reports as data; all else is a bug, and raised as what it is."""


@attrs.frozen
class Cluster:
    """Workers, on CUDA each with a GPU of its own, called `cuda` there."""

    client: Any = attrs.field(repr=False)
    device: str

    @property
    def executor(self) -> Executor:
        resources = {"GPU": 1} if self.device == "cuda" else None
        executor: Executor = self.client.get_executor(resources=resources, pure=False)
        return executor

    def count(self) -> int:
        """How many workers there are now."""
        return len(self.client.nthreads())

    def machine(self) -> dict[str, str]:
        """What trainings run on, as `runner.machine` says it; where workers differ, what each says."""
        said = self.client.run(machine, self.device).values()
        own = ("processor", "processors", "device", "system")  # in all else they are as the caller
        return machine(self.device) | {key: "; ".join(sorted({each[key] for each in said})) for key in own}

    def check_alone(self) -> None:
        """Raises UserError unless each worker has a whole machine, or on CUDA a whole GPU, and makes one
        training at a time: as it must where seconds count."""
        what = "GPU" if self.device == "cuda" else "machine"
        several = max(Counter(self.client.run(place, self.device).values()).values())
        threads = max(self.client.nthreads().values())
        if several > 1 or threads > 1:
            wrong = (
                f"{several} workers share one {what}" if several > 1 else f"a worker has {threads} threads"
            )
            raise UserError(
                f"--scheduler: {wrong}; where seconds count, start one worker for each {what}, with "
                f"--nthreads 1, or give --equal flops or tokens"
            )


def place(device: str) -> str:
    """What the trainings of a worker run on: a name that no other GPU, or machine, has."""
    if device == "cuda":
        return str(torch.cuda.get_device_properties(0).uuid)
    boot = Path("/proc/sys/kernel/random/boot_id")  # of containers on one machine the same
    return boot.read_text(encoding="ascii") if boot.exists() else platform.node()


@contextmanager
def workers(count: int | None, scheduler: str | None, device: str) -> Iterator[Cluster]:
    """The workers of the scheduler at an address, or `count` processes of this machine, which end with it.

    On CUDA each local worker has a GPU of its own, and each training at a scheduler asks for the resource
    GPU. Raises UserError when dask is not installed, when there are not as many GPUs, or no cluster at the
    address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError('--workers and --scheduler need dask: pip install "resnetbk[cluster]"') from None
    device = device.partition(":")[0]  # each worker sees one
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what matters is said in a line of ours
    if scheduler:
        try:
            client = Client(scheduler, timeout=JOINING)
            client.wait_for_workers(1, timeout=JOINING)
        except (OSError, ValueError, TimeoutError) as error:
            raise UserError(f"--scheduler {scheduler}: no cluster with a worker there: {error}") from None
        with client:
            yield Cluster(client, device)
    else:
        with _shielded():
            local = _local(int(count or 1), device == "cuda")
        with local as cluster, Client(cluster) as client:
            yield Cluster(client, device)


@contextmanager
def _shielded() -> Iterator[None]:
    """No Ctrl-C reaches processes that begin within it, or later from threads that do: a terminal sends it to
    all. This one hears of it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which, when it begins, lets through what is held back here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def told(signals: Signals) -> Iterator[None]:
    """Says in one line what dask raises where a signal ends the cluster, or its scheduler is gone."""
    try:
        yield
    except (OSError, RuntimeError, TimeoutError, CancelledError) as error:
        if signals.received:
            raise Interrupted(signals.received, "interrupted while workers start or train") from error
        ended = isinstance(error, CancelledError | TimeoutError) or "tcp://" in str(error)
        if not ended and type(error).__module__.partition(".")[0] != "distributed":  # of a training or a disk
            raise
        raise ResnetbkError("the cluster is gone; with another one, --resume goes on") from error


def _local(count: int, gpu: bool) -> Any:
    """A cluster of so many processes, open to this machine alone."""
    from distributed import Nanny, Scheduler, SpecCluster

    if gpu and count > torch.cuda.device_count():
        raise UserError(f"--workers {count}: each needs a GPU, and there are {torch.cuda.device_count()}")
    specs = {}
    for number in range(count):
        # as many threads as here: sums depend on it, and results are to be those of this process alone
        env = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        if gpu:
            env["CUDA_VISIBLE_DEVICES"] = _visible(number)
        options = {
            "host": "127.0.0.1", "nthreads": 1, "memory_limit": 0, "dashboard": False, "env": env,
            "silence_logs": 50,
            "resources": {"GPU": 1} if gpu else {},
        }  # fmt: skip
        specs[number] = {"cls": Nanny, "options": options}
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": options}
    return SpecCluster(specs, scheduler=scheduler, silence_logs=50)


def _visible(number: int) -> str:
    """What CUDA calls the GPU of this number here."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return said.split(",")[number] if said else str(number)


def awaited(
    future: Future[str], signals: Signals, what: str, meanwhile: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """What a worker gave as JSON, done by `meanwhile` again and again until then. Raises what was raised at
    the worker, and Interrupted."""
    from distributed import KilledWorker

    while True:
        if signals.received:
            raise Interrupted(signals.received, "interrupted while workers train")
        meanwhile()
        try:
            tree: dict[str, Any] = json.loads(future.result(WAIT))
        except TimeoutError:
            continue
        except KilledWorker:
            raise UserError(f"each worker that made {what} died; out of memory?") from None
        if "error" in tree:
            raise ERRORS[tree["error"]](tree["message"])
        return tree


def errors_as_json(work: Callable[..., Mapping[str, Any]]) -> Callable[..., str]:
    """At a worker: what `work` gives, or the error that it raises, as JSON."""

    @functools.wraps(work)
    def call(*given: str) -> str:
        try:
            return json.dumps(spelled(work(*given)))
        except tuple(ERRORS.values()) as error:
            name = next(name for name, kind in ERRORS.items() if isinstance(error, kind))
            return json.dumps({"error": name, "message": str(error)})

    return call


class Elsewhere:
    """A `Train` whose trainings workers make, several at a time."""

    def __init__(self, cluster: Cluster, signals: Signals, registry: Registry, corpus_sha256: str) -> None:
        self.cluster, self.signals, self.registry = cluster, signals, registry
        self.corpus_sha256 = corpus_sha256
        self._begun: dict[tuple[str, int, int], Future[str]] = {}

    def ahead(self, trainings: Sequence[tuple[Spec, int, int]]) -> None:
        """Begins those that `train` is going to be asked for; what was begun and is no longer among them is
        dropped."""
        asked = {self._key(*training): training for training in trainings}
        for key in self._begun.keys() - asked.keys():
            self._begun.pop(key).cancel()
        for key, training in asked.items():
            if key not in self._begun:
                self._begun[key] = self._begin(*training)

    def __call__(self, spec: Spec, seed: int, steps: int) -> Outcome:
        """Waits for a training. Raises what it raised at the worker, and Interrupted."""
        future = self._begun.pop(self._key(spec, seed, steps), None) or self._begin(spec, seed, steps)
        return cattrs.structure(awaited(future, self.signals, f"{steps} steps of {spec.name}"), Outcome)

    def _key(self, spec: Spec, seed: int, steps: int) -> tuple[str, int, int]:
        return dump(spec, self.registry), seed, steps

    def _begin(self, spec: Spec, seed: int, steps: int) -> Future[str]:
        device = self.cluster.device
        same = held(spec, self.registry, device, self.corpus_sha256)
        order = {"seed": seed, "steps": steps, "device": device, "held": same}
        return self.cluster.executor.submit(answer, dump(spec, self.registry), json.dumps(order))


@errors_as_json
def answer(text: str, order: str) -> Mapping[str, Any]:
    """At a worker: trains the spec in `text` and gives its outcome."""
    asked = json.loads(order)
    registry, spec = checked(text, asked["device"], asked["held"])
    outcome = runner(registry, Signals(), asked["device"])(spec, asked["seed"], asked["steps"])
    return attrs.asdict(outcome)


def held(spec: Spec, registry: Registry, device: str, corpus_sha256: str) -> dict[str, Any]:
    """What must be at a worker as it is here."""
    locked = facts(spec, registry, corpus_sha256=corpus_sha256, **here(spec, device))
    return {key: locked[key] for key in ("components", "environment")}


def checked(text: str, device: str, same: Mapping[str, Any]) -> tuple[Registry, Spec]:
    """At a worker: what it discovers, and the spec in `text`, with as many threads as the caller has. Raises
    UserError when this worker has other packages, sources of components or files."""
    torch.set_num_threads(same["environment"]["threads"])
    return _checked(text, device, json.dumps(same))


@functools.lru_cache(64)
def _checked(text: str, device: str, same: str) -> tuple[Registry, Spec]:
    registry = Registry.discover()
    spec = read_text(text, registry)
    sha256 = build("data.corpus", spec.data.corpus, Text).sha256
    asked, own = json.loads(same), json.loads(json.dumps(held(spec, registry, device, sha256)))
    if changed := differences(asked, own):
        raise UserError(*(f"a worker is not as this process: {line}" for line in changed))
    return registry, spec
