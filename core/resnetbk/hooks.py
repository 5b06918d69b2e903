"""What observers of a run receive: the hooks, and their reports.

An observer is any object, or module, with methods marked `@hookimpl` and named after a hook below; a method
takes those of the hook's arguments that it needs. Hooks are called in the process that trains, between steps,
never inside `forward`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pluggy

hookspec = pluggy.HookspecMarker("resnetbk")
hookimpl = pluggy.HookimplMarker("resnetbk")

# ---------------------------------------------------------------- reports


@attrs.frozen
class PhaseCost:
    """What one phase of a run cost, without the phases inside it.

    seconds      of wall time
    cpu_seconds  of all threads of the process
    flops        executed, multiplication and addition apart: counted on samples (see `metering.meter`)
    calls        how often it began
    """

    seconds: float
    cpu_seconds: float
    flops: float
    calls: int


@attrs.frozen
class StepReport:
    """After one step.

    step           steps done, from 1
    steps          how many the run may take, or None when something else ends it
    progress       share of the run's budget that is spent, in [0, 1]
    loss           cross-entropy of the batch in nats/token; may be not finite
    penalties      added to it, by name
    rate           learning rate used; 0 when the step was refused
    gradient_norm  Euclidean, over all parameters, before clipping
    tokens         trained on so far
    seconds        of wall time spent on steps so far
    rows           for each layer, the rows it computed per token, half a layer as half; their sum: layers run
    flops          executed so far, by set-up and steps
    """

    step: int
    steps: int | None
    progress: float
    loss: float
    penalties: Mapping[str, float]
    rate: float
    gradient_norm: float
    tokens: int
    seconds: float
    rows: tuple[float, ...]
    flops: float


@attrs.frozen
class EvaluationReport:
    """After an evaluation on the held-out text, or its first `train.evaluate_tokens`.

    step           steps done
    loss           cross-entropy in nats/token
    bits_per_byte  in bits/byte of text, which compares across tokenizers; in a task bits/label
    tokens         evaluated
    seconds        that took
    best           whether the loss is the run's lowest so far; in a task, whether accuracy is its highest
    rows           for each layer, the rows it computed per token, half a layer as half; their sum: layers run
    depths         the share of tokens for which 0, 1, ... all layers ran
    accuracy       of a task's labels, the share answered right; None for other texts
    groups         the same for each group of labels, by its name; of other texts nats/token of each part
    """

    step: int
    loss: float
    bits_per_byte: float
    tokens: int
    seconds: float
    best: bool
    rows: tuple[float, ...]
    depths: tuple[float, ...]
    accuracy: float | None = None
    groups: Mapping[str, float] = attrs.field(factory=dict)


@attrs.frozen
class RunReport:
    """The result of a run.

    folder         of the run
    loss, bits_per_byte, accuracy, groups  at its end, as in `EvaluationReport`
    parameters     how many can be trained
    steps          done
    tokens         trained on
    seconds        of wall time spent on steps, which a budget in seconds is about; set-up is in `phases`
    stopped        why it ended: `steps`, `seconds` or `target`
    phases         what each of `setup`, `forward`, `backward`, `optimizer`, `scoring`, `evaluation` cost
    flops          executed by set-up and steps, scoring included; not by evaluation
    cpu_seconds    of set-up and steps
    peak_memory    in bytes: allocated on the CUDA device, or resident in this process (see `metering.meter`)
    parents_cost   what it cost to train its parent runs, to start from or to choose data by: seconds,
                   cpu_seconds, flops, tokens; in none of the above
    uncounted      which operators `flops` leaves out for want of a formula; "" if none
    precision      of matrix products: bf16 or fp32
    """

    folder: Path
    loss: float
    bits_per_byte: float
    parameters: int
    steps: int
    tokens: int
    seconds: float
    stopped: str
    phases: Mapping[str, PhaseCost]
    flops: float
    cpu_seconds: float
    peak_memory: int
    parents_cost: Mapping[str, float] = attrs.field(factory=dict)
    uncounted: str = ""
    precision: str = ""
    accuracy: float | None = None
    groups: Mapping[str, float] = attrs.field(factory=dict)


# ---------------------------------------------------------------- hooks


@hookspec
def resnetbk_check(spec: Any) -> None:
    """Before anything is built. An observer that cannot serve this spec raises UserError to refuse it."""


@hookspec
def resnetbk_built(model: Any, spec: Any) -> None:
    """The model is built, with its weights. It is not to be changed nor, in several processes, to be run."""


@hookspec
def resnetbk_step(report: StepReport) -> None:
    """A step is done: called for all steps since the last reading (`train.log_every`). Be quick."""


@hookspec
def resnetbk_evaluated(report: EvaluationReport) -> None:
    """The held-out loss is known. Called after the report of the same step."""


@hookspec
def resnetbk_finished(run: RunReport) -> None:
    """The run ended by itself and is saved."""


@hookspec
def resnetbk_interrupted(reason: str) -> None:
    """The run ended by a signal or an error, which is raised right after this."""


# ---------------------------------------------------------------- hooks of the command line


@hookspec
def resnetbk_baselines(data: Any) -> Mapping[str, float]:  # type: ignore[empty-body]
    """Losses of plain models on the held-out text of `data` (a `resnetbk.training.data.Data`), in nats/token
    by name: rows of the table that `train` and `eval` print. Called in plugins that bring verbs."""


@hookspec
def resnetbk_trained(run: Any, data: Any) -> str:  # type: ignore[empty-body]
    """`train` has printed its results. What is returned, such as where a page is, is printed too. Called in
    plugins that bring verbs, by the command line alone."""


HOOKS = tuple(name for name in dir(sys.modules[__name__]) if name.startswith("resnetbk_"))
