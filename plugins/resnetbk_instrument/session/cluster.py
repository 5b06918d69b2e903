"""Trainings of a comparison on the workers of a dask cluster: a local one, or one at an address.

All of dask.distributed (the extra `cluster`) that is used is here, behind concurrent.futures. The session
decides as it does alone, in the same order; only its trainings run elsewhere, those that it is going to ask
for ahead of time. Specs go to workers as TOML, and outcomes come back as JSON: nothing of ours is pickled. A
worker that is lost costs its training, which another one does again.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
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
from resnetbk_instrument.session.runner import runner

WAIT = 0.3
"""Seconds after which it is checked again whether a signal came while a worker trains."""

JOINING = "60s"
"""How long the scheduler may take to answer, and a first worker to be there."""

ERRORS: Mapping[str, type[ResnetbkError]] = {
    error.__name__: error for error in (UserError, NumericError, StorageError)
}
"""What a worker reports as data; all else is a bug, and raised as what it is."""


@contextmanager
def workers(count: int | None, scheduler: str | None, device: str) -> Iterator[Executor]:
    """The workers of the scheduler at an address, or `count` processes of this machine, which end with it.

    On CUDA each local worker has a GPU of its own, and each training at a scheduler asks for the resource
    GPU. Raises UserError when dask is not installed, when there are not as many GPUs, or no cluster at the
    address.
    """
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise UserError('--workers and --scheduler need dask: pip install "resnetbk[cluster]"') from None
    gpu = device.startswith("cuda")
    resources = {"GPU": 1} if gpu else None
    with dask.config.set({"distributed.logging": {"distributed": "critical"}}):
        if scheduler:
            try:
                client = Client(scheduler, timeout=JOINING)
                client.wait_for_workers(1, timeout=JOINING)
            except (OSError, ValueError, TimeoutError) as error:
                raise UserError(f"--scheduler {scheduler}: no cluster with a worker there: {error}") from None
            with client:
                yield client.get_executor(resources=resources, pure=False)
        else:
            with _local(int(count or 1), gpu) as cluster, Client(cluster) as client:
                yield client.get_executor(resources=resources, pure=False)


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
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    return SpecCluster(specs, scheduler=scheduler, silence_logs=50)


def _visible(number: int) -> str:
    """What CUDA calls the GPU of this number here."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return said.split(",")[number] if said else str(number)


class Elsewhere:
    """A `Train` whose trainings an executor makes, several at a time."""

    def __init__(
        self, executor: Executor, signals: Signals, registry: Registry, device: str, corpus_sha256: str
    ) -> None:
        self.executor, self.signals, self.registry = executor, signals, registry
        self.device = device.partition(":")[0]  # each worker sees one
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
        from distributed import KilledWorker

        future = self._begun.pop(self._key(spec, seed, steps), None) or self._begin(spec, seed, steps)
        while True:
            if self.signals.received:
                raise Interrupted(self.signals.received, "interrupted while workers train")
            try:
                tree = json.loads(future.result(WAIT))
            except TimeoutError:
                continue
            except KilledWorker:
                raise UserError(
                    f"{spec.name}: each worker that trained it for {steps} steps died; out of memory?"
                ) from None
            if "error" in tree:
                raise ERRORS[tree["error"]](tree["message"])
            return cattrs.structure(tree, Outcome)

    def _key(self, spec: Spec, seed: int, steps: int) -> tuple[str, int, int]:
        return dump(spec, self.registry), seed, steps

    def _begin(self, spec: Spec, seed: int, steps: int) -> Future[str]:
        locked = facts(spec, self.registry, corpus_sha256=self.corpus_sha256, **here(spec, self.device))
        held = {key: locked[key] for key in ("components", "environment")}
        order = {"seed": seed, "steps": steps, "device": self.device, "held": held}
        return self.executor.submit(answer, dump(spec, self.registry), json.dumps(order))


def answer(text: str, order: str) -> str:
    """At a worker: trains the spec in `text` and gives its outcome, or its error, as JSON."""
    asked = json.loads(order)
    try:
        torch.set_num_threads(asked["held"]["environment"]["threads"])
        registry, spec = _checked(text, asked["device"], json.dumps(asked["held"]))
        outcome = runner(registry, Signals(), asked["device"])(spec, asked["seed"], asked["steps"])
    except tuple(ERRORS.values()) as error:
        name = next(name for name, kind in ERRORS.items() if isinstance(error, kind))
        return json.dumps({"error": name, "message": str(error)})
    return json.dumps(spelled(attrs.asdict(outcome)))


@functools.lru_cache(64)
def _checked(text: str, device: str, held: str) -> tuple[Registry, Spec]:
    """Raises UserError when this worker has other packages, sources of components or files."""
    registry = Registry.discover()
    spec = read_text(text, registry)
    sha256 = build("data.corpus", spec.data.corpus, Text).sha256
    own = json.loads(json.dumps(facts(spec, registry, corpus_sha256=sha256, **here(spec, device))))
    asked = json.loads(held)
    if changed := differences(asked, {key: own[key] for key in asked}):
        raise UserError(*(f"a worker is not as this process: {line}" for line in changed))
    return registry, spec
