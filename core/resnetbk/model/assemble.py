"""From a spec to a model: each component builds its part, and the parts are assembled."""

from __future__ import annotations

from inspect import signature
from itertools import pairwise
from typing import Any, TypeVar, cast

import attrs
import torch

from resnetbk import kinds
from resnetbk.errors import ResnetbkError, UserError, one_line
from resnetbk.model.language_model import LanguageModel
from resnetbk.model.layer import Layer
from resnetbk.model.trunk import Trunk
from resnetbk.spec.spec import Model, Part, by_layer, keyed

T = TypeVar("T")


def assemble(model: Model, *, vocabulary: int, seed: int) -> LanguageModel:
    """The model with its initial weights, which `seed` decides. Raises UserError when one cannot be built."""
    torch.manual_seed(seed)
    width, depth = model.width, model.depth
    size = {"width": width, "depth": depth}
    resolution = build("model.resolution", model.resolution, kinds.ResolutionScheduler, **size)
    _check_stacks(model.resolution, resolution.stacks, depth)
    halting = build(
        "model.halting", model.halting, kinds.HaltingPolicy, width=width, stacks=resolution.stacks
    )
    gate = build("model.gate", model.gate, kinds.SparsityGate, **size)
    _check_scope(model, gate.scope)
    embedding = build("model.embedding", model.embedding, kinds.Embedding, vocabulary=vocabulary, width=width)
    mixers = by_layer("model.mixer", model.mixer, model.distinct)
    channels = by_layer("model.channel", model.channel, model.distinct)
    layers = [
        Layer(
            build_layer(*mixer, kinds.SequenceMixer, model, layer),
            build_layer(*channel, kinds.ChannelMixer, model, layer),
            width=width, style=model.norm, eps=model.norm_eps, wiring=model.wiring,
        )
        for layer, (mixer, channel) in enumerate(zip(mixers, channels, strict=True))
    ]  # fmt: skip
    trunk = Trunk(layers, halting=halting, resolution=resolution, gate=gate, recompute=model.recompute)
    chosen = [v for v in attrs.asdict(model, recurse=False).values() if isinstance(v, (Part, tuple))]
    provides = frozenset.intersection(*(p.entry.provides for each in chosen for _, p in keyed("", each)))
    return LanguageModel(
        embedding, trunk, width=width, vocabulary=vocabulary, style=model.norm, tie=model.tie,
        provides=provides, eps=model.norm_eps,
    )  # fmt: skip


def build(key: str, part: Part, kind: type[T], /, **given: Any) -> T:
    """The working object of a component, of a kind's Protocol. Raises UserError, naming key and plugin, when
    it cannot be built."""
    try:
        built = part.component.build(**given)
    except ResnetbkError:
        raise
    except (Exception, SystemExit) as error:  # a plugin may not end the program
        raise UserError(
            f"{key}: {part.name!r} of {part.entry.owner} cannot be built: {one_line(error)}"
        ) from error
    if built is None:
        raise UserError(f"{key}: {part.name!r} of plugin {part.entry.plugin} built nothing")
    return cast(T, built)


def build_layer(key: str, part: Part, kind: type[T], model: Model, layer: int) -> T:
    """`build` of a mixer or channel mixer, which is told the layer's index if it takes it."""
    told = {"layer": layer} if "layer" in signature(part.component.build).parameters else {}
    return build(key, part, kind, width=model.width, depth=model.depth, **told)


def _check_stacks(part: Part, stacks: tuple[kinds.Stack, ...], depth: int) -> None:
    """What `ResolutionScheduler.stacks` promises, before anything relies on it."""
    levels = [stack.level for stack in stacks]
    layers = [layer for stack in stacks for layer in stack.layers]
    ends = (levels[0], levels[-1]) if levels else ()
    if layers != list(range(depth)) or any(ends) or any(abs(a - b) > 1 for a, b in pairwise(levels)):
        raise UserError(
            f"model.resolution: {part.name!r} of plugin {part.entry.plugin!r} gives stacks that do not "
            f"cover layers 0 to {depth - 1} in order, from level 0 to level 0, a level at a time"
        )


def _check_scope(model: Model, scope: str) -> None:
    """What `SparsityGate.scope` may be, in this wiring."""
    if scope not in ("layer", "mixer", "channel"):
        raise UserError(f"model.gate: {model.gate.name!r} has scope {scope!r}, not layer, mixer or channel")
    if scope != "layer" and model.wiring != "sequential":
        raise UserError(
            f"model.gate: {model.gate.name!r} leaves out the {scope} alone, which needs model.wiring = "
            f"'sequential': in {model.wiring!r} the mixer reads the output of the channel mixer"
        )
