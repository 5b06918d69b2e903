"""Passes through the trunk, over whole windows or over one token of each sequence; and what they did."""

from __future__ import annotations

from typing import Any, cast

import attrs
import torch
from torch import Tensor

from resnetbk.kinds import Exit, Keep, Penalties, ResolutionScheduler, Rows, SparsityGate, StreamingMixer
from resnetbk.model.layer import Layer
from resnetbk.model.rows import AnyPacking, merge, select

StreamState = dict[str, Any]
"""What the trunk carries from token to token: `layers`, `gate`, `resolution`, and the last coarse rows."""


@attrs.define(eq=False)
class LayerStatistics:
    """What one layer did in a pass.

    position  (B, M) and length, (B,) or None, of the rows present: see `Rows`
    mixer     (B, M) bool: the rows its sequence mixer computed; None stands for all of them
    channel   the same of its channel mixer
    rows      how many it computed, spare ones included; what only half of the layer computed counts half
    """

    layer: int
    position: Tensor
    length: Tensor | None
    mixer: Tensor | None
    channel: Tensor | None
    rows: float


class WindowPass:
    """All rows of `tokens`, (B, N), at once; and what it did.

    asked      (B, N) bool: the rows that the head reads, None for all
    penalties  by name
    layers     what each layer did
    exits      where it might have ended; `kept`: what the mixer of each layer leaves for its next loop
    """

    asked: Tensor | None = None

    def __init__(self, resolution: ResolutionScheduler, gate: SparsityGate, tokens: Tensor) -> None:
        self.resolution, self.gate, self.tokens = resolution, gate, tokens
        self.penalties: dict[str, Tensor] = {}
        self.layers: list[LayerStatistics] = []
        self.exits: tuple[Exit, ...] = ()
        self.kept: dict[Layer, dict[str, Tensor]] = {}

    def charge(self, penalties: Penalties) -> None:
        for name, value in penalties.items():
            self.penalties[name] = self.penalties[name] + value if name in self.penalties else value

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do at this level."""
        return False

    def down(self, level: int, rows: Rows) -> Rows:
        return self.resolution.down(level, rows, self.tokens)

    def up(self, level: int, stack: int, fine: Rows, coarse: Rows) -> Rows:
        return self.resolution.up(level, fine, coarse)

    def fill(self, layer: int, before: Tensor, after: Tensor, keep: Keep) -> Tensor:
        return self.gate.fill(layer, before, after, keep)

    def mix(self, number: int, layer: Layer, packing: AnyPacking, rows: Rows, x: Tensor) -> Tensor:
        """The layer's mixer on the packed rows, (R, D) -> (R, D)."""
        given = packing.pad(x), packing.pad(packing.take(rows.position)), packing.length
        if not getattr(layer.mixer, "reads_all", False):
            return packing.unpad(layer.run(layer.mixer, *given))
        some = packing.rows < rows.position.numel()
        context = attrs.evolve(rows, x=layer.mixer_norm(rows.x)) if some else Rows(*given)
        return packing.unpad(cast(Any, layer.mixer)(*given, context, self.kept.setdefault(layer, {})))


class TokenPass(WindowPass):
    """One token of each sequence, `tokens` (B,), after those that led to `state`, which is left alone.

    active  for each level so far, the sequences that have a row there
    """

    def __init__(
        self, resolution: ResolutionScheduler, gate: SparsityGate, tokens: Tensor, state: StreamState
    ) -> None:
        super().__init__(resolution, gate, tokens)
        self.state = state | {"layers": list(state["layers"]), "coarse": dict(state["coarse"])}
        self.active = [torch.arange(len(tokens), device=tokens.device)]

    @property
    def idle(self) -> bool:
        return not len(self.active[-1])

    def down(self, level: int, rows: Rows) -> Rows:
        active = self.active[-1]
        known = select(self.state["resolution"], active)
        coarse, begins, new = self.resolution.down_step(level, rows, self.tokens[active, None], known)
        self.state["resolution"] = merge(self.state["resolution"], active, new)
        chosen = begins.nonzero().squeeze(1)
        self.active.append(active[chosen])
        return Rows(coarse.x[chosen], coarse.position[chosen])

    def up(self, level: int, stack: int, fine: Rows, coarse: Rows) -> Rows:
        """A sequence without a coarse row of now reads the last one that it had."""
        active = self.active.pop()
        x, position = coarse.x, coarse.position
        if stack in self.state["coarse"]:  # the first token begins a row at every level
            last_x, last_position = self.state["coarse"][stack]
            x = last_x.index_copy(0, active, x.to(last_x.dtype))
            position = last_position.index_copy(0, active, position)
        self.state["coarse"][stack] = (x, position)
        present = self.active[-1]
        return self.resolution.up(level, fine, Rows(x[present], position[present]))

    def fill(self, layer: int, before: Tensor, after: Tensor, keep: Keep) -> Tensor:
        active = self.active[-1]
        known = select(self.state["gate"], active)
        x, new = self.gate.fill_step(layer, before, after, keep, known)
        self.state["gate"] = merge(self.state["gate"], active, new)
        return x

    def mix(self, number: int, layer: Layer, packing: AnyPacking, rows: Rows, x: Tensor) -> Tensor:
        index, states = packing.take(self.active[-1][:, None]), self.state["layers"]
        known = select(states[number], index)
        y, new = cast(StreamingMixer, layer.mixer).step(x, packing.take(rows.position), known)
        states[number] = merge(states[number], index, new)
        return y
