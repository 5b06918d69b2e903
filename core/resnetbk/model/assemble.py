"""From a spec to a model: each component builds its part, and the parts are put together."""

from __future__ import annotations

from itertools import pairwise

import attrs
import torch

from resnetbk.errors import UserError
from resnetbk.kinds import Stack
from resnetbk.model.language_model import LanguageModel
from resnetbk.model.layer import Layer
from resnetbk.model.trunk import Trunk
from resnetbk.spec.spec import Model, Part


def assemble(model: Model, *, vocabulary: int, seed: int) -> LanguageModel:
    """Builds the model with the weights its parts start from, which `seed` decides.

    Raises UserError when a component refuses what it is asked for.
    """
    torch.manual_seed(seed)
    width, depth = model.width, model.depth
    resolution = model.resolution.component.build(width=width, depth=depth)
    _check_stacks(model.resolution, resolution.stacks, depth)
    halting = model.halting.component.build(width=width, stacks=resolution.stacks)
    gate = model.gate.component.build(width=width, depth=depth)
    embedding = model.embedding.component.build(vocabulary=vocabulary, width=width)
    layers = [
        Layer(
            model.mixer.component.build(width=width, depth=depth),
            model.channel.component.build(width=width, depth=depth),
            width=width,
            style=model.norm,
            wiring=model.wiring,
        )
        for _ in range(depth)
    ]
    trunk = Trunk(layers, halting=halting, resolution=resolution, gate=gate)
    provides = frozenset.intersection(*(part.entry.provides for part in parts(model)))
    return LanguageModel(
        embedding,
        trunk,
        width=width,
        vocabulary=vocabulary,
        style=model.norm,
        tie=model.tie,
        provides=provides,
    )


def parts(model: Model) -> list[Part]:
    """The components of a model."""
    return [value for value in attrs.asdict(model, recurse=False).values() if isinstance(value, Part)]


def _check_stacks(part: Part, stacks: tuple[Stack, ...], depth: int) -> None:
    """What `ResolutionScheduler.stacks` promises, before anything relies on it."""
    levels = [0, *(stack.level for stack in stacks), 0]
    layers = [layer for stack in stacks for layer in stack.layers]
    if layers != list(range(depth)) or any(abs(a - b) > 1 for a, b in pairwise(levels)):
        raise UserError(
            f"model.resolution: {part.name!r} of plugin {part.entry.plugin!r} gives stacks that do not "
            f"cover layers 0 to {depth - 1} in order, a level at a time"
        )
