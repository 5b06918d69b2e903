"""The trunk: the only place that packs rows, runs layers and puts rows back. Policies decide; this executes.

for stack in resolution.stacks:              consecutive layers at one scale
    go down or up to the stack's level
    halting.begin(rows)
    for layer in stack.layers:
        run the layer on the rows that are present, running and kept; the others are not computed
        halting.observe(rows)
    rows = halting.finish()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs
import torch
from torch import Tensor, nn

from resnetbk.kinds import (
    Exit,
    HaltingPolicy,
    Keep,
    ResolutionScheduler,
    Rows,
    SparsityGate,
    Stack,
    State,
    StreamingMixer,
)
from resnetbk.model.layer import Block, Layer
from resnetbk.model.rows import PackedMixer, merge, pack, real_rows, select

StreamState = dict[str, Any]
"""What the trunk carries from token to token: `layers`, `gate`, `resolution`, and the last coarse rows."""


@attrs.frozen(eq=False)
class LayerStatistics:
    """What one layer did in a pass.

    position  (B, M) and length, (B,) or None, of the rows present: see `Rows`
    mixer     (B, M) bool: the rows its sequence mixer computed; None stands for all of them
    channel   the same of its channel mixer
    rows      how many it computed; what only half of the layer computed counts half
    """

    layer: int
    position: Tensor
    length: Tensor | None
    mixer: Tensor | None
    channel: Tensor | None
    rows: float


@attrs.define(eq=False)
class PassStatistics:
    """What one pass did: penalties by name, what each layer did, and where it might have ended."""

    penalties: dict[str, Tensor] = attrs.field(factory=dict)
    layers: list[LayerStatistics] = attrs.field(factory=list)
    exits: tuple[Exit, ...] = ()

    def charge(self, penalties: Mapping[str, Tensor]) -> None:
        for name, value in penalties.items():
            self.penalties[name] = self.penalties[name] + value if name in self.penalties else value


class Trunk(nn.Module):
    """The layers and the three policies that rule over them."""

    halting: HaltingPolicy
    resolution: ResolutionScheduler
    gate: SparsityGate

    def __init__(
        self,
        layers: list[Layer],
        *,
        halting: HaltingPolicy,
        resolution: ResolutionScheduler,
        gate: SparsityGate,
    ) -> None:
        super().__init__()
        self.layers = cast(Sequence[Layer], nn.ModuleList(layers))
        self.halting = halting
        self.resolution = resolution
        self.gate = gate

    def forward(self, x: Tensor, tokens: Tensor, position: Tensor) -> tuple[Tensor, PassStatistics]:
        """(B, N, D), (B, N), (B, N) -> (B, N, D) and what the pass did."""
        statistics = PassStatistics()
        rows = Rows(x, position)
        finer: list[Rows] = []
        for number, stack in enumerate(self.resolution.stacks):
            if statistics.exits:
                raise ValueError("only the last stack may have exits: the head cannot read those of others")
            while len(finer) < stack.level:
                finer.append(rows)
                rows = self.resolution.down(len(finer), rows, tokens)
            while len(finer) > stack.level:
                rows = self.resolution.up(len(finer), finer.pop(), rows)
            rows = self._stack(number, stack, rows, statistics)
        return rows.x, statistics

    def _stack(self, number: int, stack: Stack, rows: Rows, statistics: PassStatistics) -> Rows:
        halting = self.halting.begin(number, rows)
        present = _present(rows)
        for layer in stack.layers:
            keep = self.gate.keep(layer, rows)
            statistics.charge(keep.penalties)
            rows = self._layer(layer, rows, _all(present, halting.running), keep, statistics)
            halting.observe(layer, rows.x)
        finished = halting.finish()
        statistics.charge(finished.penalties)
        statistics.exits = finished.exits
        return attrs.evolve(rows, x=finished.x)

    def _layer(
        self, number: int, rows: Rows, running: Tensor | None, keep: Keep, statistics: PassStatistics
    ) -> Rows:
        layer = self.layers[number]
        kept = attrs.evolve(keep, mask=_all(running, keep.mask))
        done: list[tuple[Tensor | None, int]] = []
        for block, gated in layer.blocks(self.gate.scope):
            decision = kept if gated else Keep(running)
            x, computed = self._block(layer, block, rows, decision, statistics)
            if gated and keep.mask is not None:
                x = _only(running, self.gate.fill(number, rows.x, x, kept), rows.x)
            rows = attrs.evolve(rows, x=x)
            done.append((decision.mask, computed))
        statistics.layers.append(
            LayerStatistics(
                number,
                rows.position,
                rows.length,
                mixer=done[0][0],
                channel=done[-1][0],
                rows=sum(computed for _, computed in done) / len(done),
            )
        )
        return rows

    def _block(
        self, layer: Layer, block: Block, rows: Rows, keep: Keep, statistics: PassStatistics
    ) -> tuple[Tensor, int]:
        """The rows after a block, of which those that `keep` masks out are as before; and how many it ran."""
        packing = pack(rows, keep.mask)
        if keep.mask is not None and packing.rows == 0:
            return rows.x, 0
        before = packing.take(rows.x)
        position = packing.pad(packing.take(rows.position))
        after, penalties = block(before, PackedMixer(layer.mixer, packing, position))
        statistics.charge(penalties)
        if keep.weight is not None:
            after = _weigh(before, after, packing.take(keep.weight))
        return packing.put(rows.x, after), packing.rows

    # ------------------------------------------------------------ one token at a time

    def initial_state(self, batch: int) -> StreamState:
        """The state before the first token. Every component must provide `streaming`."""
        return {
            "layers": [cast(StreamingMixer, layer.mixer).initial_state(batch) for layer in self.layers],
            "gate": self.gate.initial_state(batch),
            "resolution": self.resolution.initial_state(batch),
            "coarse": {},
        }

    def step(
        self, x: Tensor, tokens: Tensor, position: Tensor, state: StreamState
    ) -> tuple[Tensor, StreamState]:
        """One token a sequence, (B, D), (B,), (B,): what `forward` gives there. Leaves `state` alone."""
        state = {**state, "layers": list(state["layers"]), "coarse": dict(state["coarse"])}
        rows = Rows(x[:, None], position[:, None])
        finer: list[tuple[Rows, Tensor]] = []
        active = torch.arange(x.shape[0], device=x.device)  # the sequences that have a row at this level
        for number, stack in enumerate(self.resolution.stacks):
            while len(finer) < stack.level:
                finer.append((rows, active))
                rows, active = self._descend(len(finer), rows, tokens, active, state)
            while len(finer) > stack.level:
                level = len(finer)
                fine, wider = finer.pop()
                coarse = self._last_coarse(number, rows, active, wider, state)
                rows, active = self.resolution.up(level, fine, coarse), wider
            if active.numel():
                rows = self._stack_step(number, stack, rows, active, state)
        return rows.x[:, 0], state

    def _descend(
        self, level: int, rows: Rows, tokens: Tensor, active: Tensor, state: StreamState
    ) -> tuple[Rows, Tensor]:
        known = select(state["resolution"], active)
        coarse, begins, new = self.resolution.down_step(level, rows, tokens[active, None], known)
        state["resolution"] = merge(state["resolution"], active, new)
        chosen = begins.nonzero().squeeze(1)
        return Rows(coarse.x[chosen], coarse.position[chosen]), active[chosen]

    def _last_coarse(
        self, number: int, rows: Rows, active: Tensor, wider: Tensor, state: StreamState
    ) -> Rows:
        """For each sequence present one level below: its coarse row of now, or the last one it had."""
        if number in state["coarse"]:
            x, position = state["coarse"][number]
            x = x.index_copy(0, active, rows.x.to(x.dtype))
            position = position.index_copy(0, active, rows.position)
        else:  # the first token begins a row at every level
            x, position = rows.x, rows.position
        state["coarse"][number] = (x, position)
        return Rows(x[wider], position[wider])

    def _stack_step(self, number: int, stack: Stack, rows: Rows, active: Tensor, state: StreamState) -> Rows:
        halting = self.halting.begin(number, rows)
        for layer in stack.layers:
            keep = self.gate.keep(layer, rows)
            rows = self._layer_step(layer, rows, halting.running, keep, active, state)
            halting.observe(layer, rows.x)
        return attrs.evolve(rows, x=halting.finish().x)

    def _layer_step(
        self, number: int, rows: Rows, running: Tensor | None, keep: Keep, active: Tensor, state: StreamState
    ) -> Rows:
        kept = attrs.evolve(keep, mask=_all(running, keep.mask))
        for block, gated in self.layers[number].blocks(self.gate.scope):
            x = self._block_step(number, block, rows, kept if gated else Keep(running), active, state)
            if gated and keep.mask is not None:
                known = select(state["gate"], active)
                x, new = self.gate.fill_step(number, rows.x, x, kept, known)
                x = _only(running, x, rows.x)
                state["gate"] = merge(state["gate"], active, new)
            rows = attrs.evolve(rows, x=x)
        return rows

    def _block_step(
        self, number: int, block: Block, rows: Rows, keep: Keep, active: Tensor, state: StreamState
    ) -> Tensor:
        mixer = cast(StreamingMixer, self.layers[number].mixer)
        everyone = torch.arange(len(active), device=active.device)
        chosen = everyone if keep.mask is None else keep.mask[:, 0].nonzero()[:, 0]
        if chosen.numel() == 0:
            return rows.x
        before, position, index = rows.x[chosen, 0], rows.position[chosen, 0], active[chosen]

        after, _ = block(before, _SteppedMixer(mixer, position, index, state["layers"], number))
        if keep.weight is not None:
            after = _weigh(before, after, keep.weight[chosen, 0])
        return rows.x.index_copy(0, chosen, after[:, None].to(rows.x.dtype))


def _present(rows: Rows) -> Tensor | None:
    """(B, M) bool: the real rows, or None when all are."""
    if rows.length is None:
        return None
    return real_rows(rows.length, rows.x.shape[1])


def _all(*masks: Tensor | None) -> Tensor | None:
    """The rows that every mask allows; None when none of them restricts."""
    given = [mask for mask in masks if mask is not None]
    return None if not given else torch.stack(given).all(0) if len(given) > 1 else given[0]


def _only(running: Tensor | None, filled: Tensor, before: Tensor) -> Tensor:
    """The filled rows where rows are running; halted ones stay as they were."""
    return filled if running is None else torch.where(running[..., None], filled, before)


def _weigh(before: Tensor, after: Tensor, weight: Tensor) -> Tensor:
    """The rows (R, D) with what the layer added scaled by the gate's weights (R,).

    A weight of 1 leaves `after` as it is, to the bit: that is how `lerp` is made.
    """
    return torch.lerp(before, after.to(before.dtype), weight[:, None].to(before.dtype))


@attrs.frozen(eq=False)
class _SteppedMixer:
    """A sequence mixer on one row each of the sequences in `index`, whose states it replaces."""

    mixer: StreamingMixer
    position: Tensor
    index: Tensor
    states: list[State]
    layer: int

    def __call__(self, x: Tensor) -> Tensor:
        y, new = self.mixer.step(x, self.position, select(self.states[self.layer], self.index))
        self.states[self.layer] = merge(self.states[self.layer], self.index, new)
        return y
