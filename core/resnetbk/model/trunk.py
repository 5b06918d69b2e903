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

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import attrs
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from resnetbk.kinds import HaltingPolicy, Keep, ResolutionScheduler, Rows, SparsityGate, Stack, StreamingMixer
from resnetbk.model.layer import Block, Layer, constant
from resnetbk.model.passes import LayerStatistics, StreamState, TokenPass, WindowPass
from resnetbk.model.rows import pack, real_rows


class Trunk(nn.Module):
    """The layers, run over and over in `loops`, and the three policies that decide which rows they compute,
    of each loop by numbers of its own. `recompute`: see the spec."""

    halting: HaltingPolicy
    resolution: ResolutionScheduler
    gate: SparsityGate
    few_sizes = False  # in training: see `Packing`
    skip: Callable[..., Tensor] = staticmethod(lambda run, layer, x: x)  # instead of a layer without rows
    constant = 0  # in training, layers numbered below are not learned: see `layer.constant`

    def __init__(
        self, layers: list[Layer], *, halting: HaltingPolicy, resolution: ResolutionScheduler,
        gate: SparsityGate, recompute: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = cast(Sequence[Layer], nn.ModuleList(layers))
        self.halting = halting
        self.resolution = resolution
        self.gate = gate
        self.recompute = recompute
        self.loops = sum(len(stack.layers) for stack in resolution.stacks) // len(layers)

    def forward(
        self, x: Tensor, tokens: Tensor, position: Tensor, length: Tensor | None = None,
        asked: Tensor | None = None,
    ) -> tuple[Tensor, WindowPass]:  # fmt: skip
        """(B, N, D), (B, N), (B, N), `Rows.length`, `WindowPass.asked` -> (B, N, D) and the pass made."""
        pass_ = WindowPass(self.resolution, self.gate, tokens)
        pass_.asked = asked
        return self._run(pass_, Rows(x, position, length)).x, pass_

    def initial_state(self, batch: int) -> StreamState:
        """The state before the first token. Every component must provide `streaming`."""
        states = [cast(StreamingMixer, layer.mixer).initial_state(batch) for layer in self.layers]
        return {
            "layers": states * self.loops,
            "gate": self.gate.initial_state(batch),
            "resolution": self.resolution.initial_state(batch),
            "coarse": {},
        }

    def step(
        self, x: Tensor, tokens: Tensor, position: Tensor, state: StreamState
    ) -> tuple[Tensor, StreamState]:
        """One token a sequence, (B, D), (B,), (B,): what `forward` gives there. Leaves `state` alone."""
        pass_ = TokenPass(self.resolution, self.gate, tokens, state)
        return self._run(pass_, Rows(x[:, None], position[:, None])).x[:, 0], pass_.state

    def _run(self, pass_: WindowPass, rows: Rows) -> Rows:
        finer: list[Rows] = []
        for number, stack in enumerate(self.resolution.stacks):
            if pass_.exits:
                raise ValueError("only the last stack may have exits: the head cannot read those of others")
            while len(finer) < stack.level:
                finer.append(rows)
                rows = pass_.down(len(finer), rows)
            while len(finer) > stack.level:
                rows = pass_.up(len(finer), number, finer.pop(), rows)
            if not pass_.idle:
                rows = self._stack(pass_, number, stack, rows)
        return rows

    def _stack(self, pass_: WindowPass, number: int, stack: Stack, rows: Rows) -> Rows:
        halting = self.halting.begin(number, rows)
        real = None if rows.length is None else real_rows(rows.length, rows.x.shape[1])
        for layer in stack.layers:
            keep = self.gate.keep(layer, rows)
            pass_.charge(keep.penalties)
            rows = self._layer(pass_, layer, rows, _both(real, halting.running), keep)
            halting.observe(layer, rows.x)
        finished = halting.finish()
        pass_.charge(finished.penalties)
        pass_.exits = finished.exits
        return attrs.evolve(rows, x=finished.x)

    def _layer(self, pass_: WindowPass, number: int, rows: Rows, running: Tensor | None, keep: Keep) -> Rows:
        computed_rows = attrs.evolve(keep, mask=_both(running, keep.mask))
        layer, scope = self.layers[number % len(self.layers)], self.gate.scope
        last = self.resolution.stacks[-1].layers[-1:] == (number,) and layer.wiring == "sequential"
        if last and keep.mask is None and keep.weight is None and pass_.asked is not None:
            scope, computed_rows = "channel", Keep(_both(running, pass_.asked))
        masks, counts = [], []
        for block, gated in layer.blocks(scope):
            decision = computed_rows if gated else Keep(running)
            x, count = self._block(pass_, number, block, rows, decision)
            if gated and keep.mask is not None:
                x = pass_.fill(number, rows.x, x, computed_rows)
                if running is not None:  # rows that have halted stay as they were
                    x = torch.where(running[..., None], x, rows.x)
            rows = attrs.evolve(rows, x=x)
            masks.append(decision.mask)
            counts.append(count)
        ran = sum(counts) / len(counts)
        pass_.layers.append(LayerStatistics(number, rows.position, rows.length, masks[0], masks[-1], ran))
        return rows

    def _block(
        self, pass_: WindowPass, number: int, block: Block, rows: Rows, keep: Keep
    ) -> tuple[Tensor, int]:
        """The rows after a block, of which those that `keep` masks out are as before; and how many it ran."""
        packing = pack(rows, keep.mask, self.few_sizes and self.training)
        layer = self.layers[number % len(self.layers)]
        run, learns = block, torch.is_grad_enabled()
        if learns and number < self.constant:
            run = partial(constant, block)
        elif learns and self.recompute:
            run = partial(checkpoint, block, use_reentrant=False)
        if keep.mask is not None and packing.rows == 0:
            return self.skip(run, layer, rows.x), 0
        before = packing.take(rows.x)
        after, penalties = run(before, partial(pass_.mix, number, layer, packing, rows))
        pass_.charge(penalties)
        if keep.weight is not None:  # at a weight of 1, `lerp` leaves `after` as it is, to the bit
            weight = packing.take(keep.weight)[:, None].to(before.dtype)
            after = torch.lerp(before, after.to(before.dtype), weight)
        return packing.put(rows.x, after), len(before)


def _both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The rows that both masks allow; None allows all."""
    if one is None or other is None:
        return other if one is None else one
    return one & other
