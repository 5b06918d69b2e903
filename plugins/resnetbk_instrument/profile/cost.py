"""What a spec will cost, measured on a few of its own steps before it is trained."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from resnetbk.metering.flops import FlopCounter, by_component
from resnetbk.metering.meter import STEP_PHASES
from resnetbk.model.language_model import LanguageModel
from resnetbk.spec.spec import Model, Spec, by_layer
from resnetbk.training.data import Data
from resnetbk.training.device import bf16_speed, precision_on
from resnetbk.training.learner import Learner
from resnetbk.training.objective import objective, windows_per_pass

STEPS = 5
WARM_UP = 2
STREAMED = 16
"""Tokens read one by one to see how the state grows."""


@attrs.frozen(kw_only=True)
class StreamState:
    """What one sequence carries on, in bytes: after its first token, and more with each further one."""

    bytes: int
    growth: float


@attrs.frozen(kw_only=True)
class CostEstimate:
    """What a spec costs as its first steps show it; a policy that learns to skip will change it.

    precision       of matrix products, bf16 or fp32
    bf16_speed      how many times as fast as in fp32 they are in bf16 here
    parameters      trainable ones by component, shared ones once; of a pattern of layers by its entry,
                    `mixer[0]`
    forward_flops   FLOPs a token by component; `loss` for what follows the model
    training_flops  FLOPs a token: forward, backward, optimizer and scoring
    state           None when a component does not provide streaming
    peak_memory     bytes (see `resnetbk.metering.meter`)
    tokens          in a step
    seconds         of a step, the median of `measured` steps; `phases`: of that step, which they add up to
    setup_seconds   before the first step, without reading the corpus
    steps           that the whole run takes: those asked for, or those that fit in its seconds
    evaluations, evaluation_seconds  how many the run makes, and one of them
    total_seconds, total_flops       of the whole run: seconds with evaluations, without writing checkpoints;
                    FLOPs without them
    """

    name: str
    device: str
    precision: str
    bf16_speed: float
    parameters: Mapping[str, int]
    forward_flops: Mapping[str, float]
    training_flops: float
    state: StreamState | None
    peak_memory: int
    tokens: int
    measured: int
    seconds: float
    phases: Mapping[str, float]
    setup_seconds: float
    steps: int
    evaluations: int
    evaluation_seconds: float
    total_seconds: float
    total_flops: float


def cost(spec: Spec, *, steps: int = STEPS, device: str = "") -> CostEstimate:
    """Builds the spec, takes two steps to warm up and `steps` (at least one) to measure; writes nothing.

    Raises UserError, also when FLOPs cannot be counted, and NumericError.
    """
    learner = Learner(spec, device=device)
    meter = learner.meter
    setup_seconds, setup_flops = meter.costs["setup"].seconds, meter.costs["setup"].flops
    for _ in range(WARM_UP):
        learner.learn()
        learner.read()
    meter.warm()
    tokens_before, flops_before = learner.tokens, meter.flops
    taken: list[dict[str, float]] = []
    while len(taken) < steps:
        before = {phase: meter.costs[phase].seconds for phase in STEP_PHASES}
        counted = meter.counter.seconds
        learner.learn()
        learner.read()
        if meter.counter.seconds == counted:  # counting takes time that training does not
            taken.append({phase: meter.costs[phase].seconds - before[phase] for phase in STEP_PHASES})
    steps_taken = learner.step - WARM_UP
    tokens = learner.tokens - tokens_before
    training_flops = (meter.flops - flops_before) / tokens
    forward_flops = _forward_flops(learner)
    phases = _middle(taken)
    seconds = sum(phases.values())
    meter.check()
    whole = _steps(spec, seconds)
    evaluations = _evaluations(spec, whole)
    window, most = spec.data.window, spec.train.evaluate_tokens
    evaluation_seconds = _evaluation_seconds(learner, learner.data.beginning(most, window))
    last = _evaluation_seconds(learner, learner.data) if most else 0.0
    return CostEstimate(
        name=spec.name,
        device=str(learner.device),
        precision=precision_on(learner.device, spec.train.precision),
        bf16_speed=bf16_speed(learner.device),
        parameters=_parameters(learner.model, _names(spec.model)),
        forward_flops=forward_flops,
        training_flops=training_flops,
        state=_state(learner),
        peak_memory=meter.peak_memory,
        tokens=tokens // steps_taken,
        measured=steps,
        seconds=seconds,
        phases=phases,
        setup_seconds=setup_seconds,
        steps=whole,
        evaluations=evaluations,
        evaluation_seconds=evaluation_seconds,
        total_seconds=setup_seconds + whole * seconds + evaluations * evaluation_seconds + last,
        total_flops=setup_flops + whole * training_flops * (tokens / steps_taken),
    )


def _middle(taken: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median step by phase, or the mean of the two in the middle; medians of phases would be of several
    steps, and add up to none."""
    ordered = sorted(taken, key=lambda step: sum(step.values()))
    middle = ordered[(len(taken) - 1) // 2 : len(taken) // 2 + 1]
    return {phase: statistics.fmean(step[phase] for step in middle) for phase in STEP_PHASES}


def _steps(spec: Spec, seconds: float) -> int:
    limits = [spec.train.steps] if spec.train.steps else []
    if spec.train.seconds:
        limits.append(max(1, round(spec.train.seconds / seconds)))
    return min(limits)


def _evaluations(spec: Spec, steps: int) -> int:
    """One every `evaluate` steps, and one at the end."""
    return -(-steps // spec.train.evaluate) if spec.train.evaluate else 1


def _evaluation_seconds(learner: Learner, data: Data) -> float:
    """Measured on one pass and scaled to the held-out text of `data`."""
    spec = learner.spec
    window = data.held_out_window(spec.data.window)
    together = windows_per_pass(window, learner.device)
    batch = next(data.held_out(window, together, learner.device))
    learner.model.eval()
    with torch.inference_mode():
        objective(learner.model, batch, spec.train.precision)
        started = time.perf_counter()
        float(objective(learner.model, batch, spec.train.precision)[0].cross_entropy)
        spent = time.perf_counter() - started
    learner.model.train()
    return spent * (len(data.valid) - 1) / batch.inputs.numel()


def _forward_flops(learner: Learner) -> dict[str, float]:
    counter, batch = FlopCounter(), learner.choose()[2]
    with by_component(learner.model, counter, _names(learner.spec.model)), counter:
        objective(learner.model, batch, learner.spec.train.precision)
    tokens = batch.inputs.numel()
    return {name or "loss": flops / tokens for name, flops in counter.components.items() if flops}


def _names(model: Model) -> dict[str, list[str]]:
    """What the mixer and the channel mixer of each layer are called: `mixer`, or `mixer[1]` in a pattern."""
    chosen = {"mixer": model.mixer, "channel": model.channel}
    return {kind: [key for key, _ in by_layer(kind, each, model.depth)] for kind, each in chosen.items()}


def _parameters(model: LanguageModel, names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    parameters: dict[str, int] = {}
    for weight in model.weights():
        component = _component(weight.name.split("."), names)
        parameters[component] = parameters.get(component, 0) + weight.parameter.numel()
    return parameters


def _component(place: list[str], names: Mapping[str, Sequence[str]]) -> str:
    """`trunk.layers.0.mixer_norm.weight` -> `norm`, `trunk.gate.bias` -> `gate`."""
    if place[0] != "trunk":
        return place[0]
    name = place[3] if place[1] == "layers" else place[1]
    if place[1] == "layers" and name in names:
        return names[name][int(place[2])]
    return "norm" if name.endswith("norm") else name


def _state(learner: Learner) -> StreamState | None:
    model = learner.model
    if "streaming" not in model.provides:
        return None
    tokens = torch.from_numpy(learner.data.valid[:STREAMED].astype("int64")).to(learner.device)
    model.eval()
    with torch.inference_mode():
        state, sizes = model.initial_state(1), []
        for token in tokens[:, None]:
            _, state = model.step(token, state)
            sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in _tensors(state)))
    model.train()
    return StreamState(bytes=sizes[0], growth=(sizes[-1] - sizes[0]) / max(1, len(sizes) - 1))


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from _tensors(item)
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _tensors(item)
