"""Halting policies, gates and schedulers, each with one fault."""

from __future__ import annotations

import attrs
import torch
from torch import nn

from resnetbk.kinds import Finished, Keep, Rows, Stack
from resnetbk.model.rows import Packing

LAST = 2
"""Number of rows at the end, padding included, that some of these treat differently."""


class _Pass:
    """Nothing halts."""

    running = None

    def __init__(self, rows):
        self.x = rows.x

    def observe(self, layer, x):
        self.x = x

    def finish(self):
        return Finished(self.x)


class _Shrinking(_Pass):
    def finish(self):
        return Finished(0.9 * self.x)


class _Undead(_Pass):
    def __init__(self, rows):
        super().__init__(rows)
        self.running = rows.position % 2 == 0

    def observe(self, layer, x):
        self.x, self.running = x, ~self.running


class _Hasty(_Pass):
    def __init__(self, rows):
        super().__init__(rows)
        self.running = rows.position < rows.x.shape[1] - LAST


class _Policy(nn.Module):
    def __init__(self, halting_pass):
        super().__init__()
        self.halting_pass = halting_pass

    def begin(self, stack, rows):
        return self.halting_pass(rows)


def _policy(halting_pass, doc):
    @attrs.frozen(kw_only=True)
    class Component:
        def build(self, *, width, stacks):
            return _Policy(halting_pass)

    Component.__doc__ = doc
    return Component


Shrinking = _policy(_Shrinking, "Its weights sum to 0.9.")
Undead = _policy(_Undead, "Rows that have halted run again.")
Hasty = _policy(_Hasty, "The last rows never run, as counted from the end of the padding.")


class _Gate(nn.Module):
    """Keeps everything."""

    scope = "layer"

    def __init__(self, width, depth):
        super().__init__()

    def keep(self, layer, rows):
        return Keep()

    def fill(self, layer, before, after, keep):
        return after


class _Multiplying(_Gate):
    def keep(self, layer, rows):
        return Keep(None, (rows.position % 2).to(rows.x.dtype))


class _Counting(_Gate):
    def keep(self, layer, rows):
        return Keep(rows.position < rows.x.shape[1] - LAST)


class _Charging(_Gate):
    def keep(self, layer, rows):
        return Keep(penalties={"sparsity": rows.x.square().mean()} if rows.x.numel() else {})


class _Remembering(_Gate):
    def __init__(self, width, depth):
        super().__init__(width, depth)
        self.register_buffer("mean", torch.zeros(()))

    def keep(self, layer, rows):
        if self.training and rows.x.numel():
            self.mean += 0.1 * (rows.x.detach().mean() - self.mean)
        return Keep()


class _Scheduler(nn.Module):
    """The layers but the first work on every other row."""

    def __init__(self, width, depth):
        super().__init__()
        self.stacks = (Stack(0, (0,)), Stack(1, tuple(range(1, depth))), Stack(0, ()))

    def down(self, level, rows, tokens):
        length = None if rows.length is None else (rows.length + 1) // 2
        return Rows(rows.x[:, ::2], rows.position[:, ::2], length)

    def up(self, level, fine, coarse):
        read = coarse.x.repeat_interleave(2, 1)[:, : fine.x.shape[1]]
        return attrs.evolve(fine, x=fine.x + read)


class _Level(_Scheduler):
    def down(self, level, rows, tokens):
        return rows

    def up(self, level, fine, coarse):
        return coarse


class _Unmeasured(_Scheduler):
    def down(self, level, rows, tokens):
        return attrs.evolve(super().down(level, rows, tokens), length=None)


class _Spareless(_Scheduler):
    def down(self, level, rows, tokens):
        packing = Packing(rows.position % 3 == 0)
        position = rows.position.new_zeros(packing.length.shape[0] * packing.width)
        position.index_copy_(0, packing.slot, packing.take(rows.position).flatten())
        return super().down(level, rows, tokens)


def _component(module, doc):
    @attrs.frozen(kw_only=True)
    class Component:
        def build(self, *, width, depth):
            return module(width, depth)

    Component.__doc__ = doc
    return Component


Multiplying = _component(_Multiplying, "Computes all rows and multiplies half of them with zero.")
Counting = _component(_Counting, "Leaves out the last rows, as counted from the end of the padding.")
Charging = _component(_Charging, "Its penalty is a mean over padding too.")
Remembering = _component(_Remembering, "Keeps a mean over padding too.")
Level = _component(_Level, "Its coarse rows are as many as the fine ones.")
Unmeasured = _component(_Unmeasured, "Does not say how many of its coarse rows are real.")
Spareless = _component(_Spareless, "Packs rows as if none were spare.")
