"""What a comparison does on a real machine: trains specs, and reads the text that they share."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs
import torch

from resnetbk.errors import UserError
from resnetbk.lock.lock import facts
from resnetbk.metering.flops import FlopCounter
from resnetbk.registry.lookup import Registry
from resnetbk.spec.spec import Spec
from resnetbk.training.compiled import to_compile
from resnetbk.training.data import Data
from resnetbk.training.device import find_device, precision_on
from resnetbk.training.experiment import Experiment, here
from resnetbk.training.objective import TOKENS_PER_PASS
from resnetbk.training.run import Run
from resnetbk.training.signals import Interrupted, Signals
from resnetbk_instrument.results.comparison import Outcome, Unit
from resnetbk_instrument.results.ngram_baseline import baseline_nats
from resnetbk_instrument.session.journal import SCHEMA
from resnetbk_instrument.session.plan import Plan, Train

READ = 4 * TOKENS_PER_PASS
"""Held-out tokens to measure the cost of inference on: a fixed number, for all of them may be many."""

PASSES = 3
"""Over the held-out text, to tell what it costs to use a model: one alone is noisy."""


def runner(registry: Registry, signals: Signals, device: str, watchers: Sequence[object] = ()) -> Train:
    """Trains a spec, which `watchers` observe, in a folder that is gone afterwards. What it raises passes,
    Interrupted too."""

    def train(spec: Spec, seed: int, steps: int) -> Outcome:
        if signals.received:
            raise Interrupted(signals.received, "interrupted between two trainings")
        gc.collect()  # what the last training left in cycles is not this one's memory
        with tempfile.TemporaryDirectory(prefix="resnetbk-") as folder:
            # by its own length, so that all trainings of a variant, its first too, run alike
            compiled = bool(to_compile(spec.train, find_device(device)))
            experiment = Experiment(budgeted(spec, seed, steps, compile=compiled), registry)
            run = experiment.train(Path(folder) / "run", device=device, strict_flops=True, watchers=watchers)
        report = run.report
        assert report is not None
        inference_seconds, inference_flops = inference(run)
        return Outcome(
            loss=report.loss,
            bits_per_byte=report.bits_per_byte,
            costs={
                "seconds": report.seconds + report.phases["setup"].seconds,
                "cpu_seconds": report.cpu_seconds,
                "flops": report.flops,
                "tokens": report.tokens,
                "inference_seconds": inference_seconds,
                "inference_flops": inference_flops,
            },
            parameters=report.parameters,
            phases={name: cost.seconds for name, cost in report.phases.items()},
            peak_memory=report.peak_memory,
            parents_cost=report.parents_cost,
            accuracy=report.accuracy,
        )

    return train


def inference(run: Run) -> tuple[float, float]:
    """Wall seconds and FLOPs for each token of the held-out text's beginning: the median of some passes,
    which have been warmed up by the run's own evaluation, and the count of one more."""
    data = run.data().beginning(READ, run.spec.data.window)
    passes = [run.evaluate(data) for _ in range(PASSES)]
    counter = FlopCounter()
    with counter:
        counted = run.evaluate(data)
    return statistics.median(each.seconds / each.tokens for each in passes), counter.flops / counted.tokens


def budgeted(spec: Spec, seed: int, steps: int, **more: Any) -> Spec:
    """The spec with a budget of steps over which its rate decays, and nothing that ends it earlier, evaluates
    it on the way, or writes: the instrument's own cost is no variant's. `more` keys of its training."""
    alone = attrs.evolve(
        spec.train, steps=steps, seconds=None, target=None, target_accuracy=None, evaluate=0, save=0, keep=0,
        observe=(), **more,
    )  # fmt: skip
    return attrs.evolve(spec, seed=seed, train=alone)


@attrs.frozen
class SharedText:
    """What variants have in common: the unit in which their losses compare, the n-gram baseline of their text
    (empty where tokenizers differ), and the text's sha256."""

    unit: Unit
    ngram_baseline: dict[int, float]
    corpus_sha256: str


def shared_text(variants: Mapping[str, Spec]) -> SharedText:
    """Raises UserError when the specs do not hold out the same text."""
    loaded: list[tuple[Any, Data]] = []  # by corpus and tokenizer: most variants share them
    alike = True
    for name, spec in variants.items():
        key = (spec.data.corpus, spec.data.tokenizer)
        data = next((data for known, data in loaded if known == key), None)
        if data is None:
            data = Data.load(spec.data)
            loaded.append((key, data))
        first = loaded[0][1]
        if (data.text.sha256, len(data.text.valid)) != (first.text.sha256, len(first.text.valid)):
            other = next(iter(variants))
            raise UserError(f"{name}: learns from another text than {other}, so their losses do not compare")
        alike = alike and data.tokenizer.state() == first.tokenizer.state()
    first = loaded[0][1]
    if first.text.task:
        return SharedText("error rate", {}, first.text.sha256)
    # two tokenizers of one vocabulary may cut the text differently
    if not (alike and len({spec.data.tokenizer.name for spec in variants.values()}) == 1):
        return SharedText("bits/byte", {}, first.text.sha256)
    return SharedText("nats/token", baseline_nats(first), first.text.sha256)


def machine(device: str) -> dict[str, str]:
    """What trainings run on here."""
    return {
        "processor": _processor(),
        "processors": str(os.cpu_count()),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "auto precision": precision_on(find_device(device), "auto"),
        "resnetbk": version("resnetbk"),
    }


def plan_facts(plan: Plan, registry: Registry, ground: SharedText, device: str) -> dict[str, Any]:
    """What a comparison that goes on must still be: goal, specs, source code of components, and environment.
    More pairs and another tolerance are no other comparison."""
    variants = {
        name: facts(spec, registry, corpus_sha256=ground.corpus_sha256, **here(spec, device))
        for name, spec in plan.variants.items()
    }
    goal = {key: value for key, value in attrs.asdict(plan.goal).items() if value is not None}
    return {"schema": SCHEMA, "goal": goal, "reach": plan.reach, "device": device, "variants": variants}


def _processor() -> str:
    """Its name, where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
