"""Components of models, each with one fault."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch import nn

from resnetbk.kinds import Finished, Keep, Stack
from resnetbk.testing.parts import RunningMean


def component(module, doc="A mixer with a fault."):
    """A component without keys that builds `module`."""

    @attrs.frozen(kw_only=True)
    class Made:
        def build(self, *, width, depth):
            return module(width)

    Made.__doc__ = doc
    return Made


@attrs.frozen(kw_only=True)
class Silent:
    """Says nothing of its key."""

    chains: int = 1

    def build(self, *, width, depth):
        return RunningMean(width)


@attrs.define(kw_only=True)
class Mutable:
    """Can be changed after it was made."""

    def build(self, *, width, depth):
        return RunningMean(width)


@attrs.frozen(kw_only=True)
class Drifting:
    """Is another one each time it is written and read.

    size  grows
    """

    size: int = attrs.field(default=1, converter=lambda size: size + 1)

    def build(self, *, width, depth):
        return RunningMean(width)


class _Short(RunningMean):
    def forward(self, x, position, length):
        y = super().forward(x, position, length)
        return y * float("nan") if 1 < x.shape[1] < 9 else y


class _Leaking(RunningMean):
    def forward(self, x, position, length):
        return super().forward(x, position, length) + 1e-3 * x.mean(1, keepdim=True)


class _Forgetful(RunningMean):
    def step(self, x, position, state):
        return super().step(x, position, self.initial_state(x.shape[0]))


class _Sociable(RunningMean):
    def forward(self, x, position, length):
        return super().forward(x - x.mean(0), position, length)


class _Moody(RunningMean):
    def __init__(self, width):
        super().__init__(width)
        weight = np.random.default_rng().normal(size=(width, width))
        self.output.weight = nn.Parameter(torch.from_numpy(weight).float())


class _Idle(RunningMean):
    def __init__(self, width):
        super().__init__(width)
        self.idle = nn.Parameter(torch.ones(width))


class _Hiding(RunningMean):
    def __init__(self, width):
        super().__init__(width)
        self.gain = torch.randn(width)  # neither parameter nor buffer

    def forward(self, x, position, length):
        return super().forward(x, position, length) * self.gain


class _Fragile(RunningMean):
    def forward(self, x, position, length):
        y = super().forward(x, position, length)
        one = torch.ones_like(y)
        return y * 1e-3 / ((one + 1e-3) - one)


class _Crowded(RunningMean):
    def forward(self, x, position, length):
        return super().forward(x.reshape(x.shape[0], -1, x.shape[2]), position, length)


class _Padded(RunningMean):
    def forward(self, x, position, length):
        y = super().forward(x, position, length)
        return y if length is None else y * (length / x.shape[1])[:, None, None]


class _Twice(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.output = nn.Linear(width, width)
        self.within = False

    def forward(self, x):
        if self.within:
            return self.output(x), {}
        self.within = True
        y = (self(x)[0] + self(x)[0]) / 2
        self.within = False
        return y, {}


Short, Leaking, Forgetful, Sociable, Moody, Idle, Hiding, Fragile, Crowded, Padded, Onesided = map(
    component,
    (
        _Short,
        _Leaking,
        _Forgetful,
        _Sociable,
        _Moody,
        _Idle,
        _Hiding,
        _Fragile,
        _Crowded,
        _Padded,
        RunningMean,
    ),
)
Twice = component(_Twice, "A channel mixer that computes each row twice.")


@attrs.frozen(kw_only=True)
class Shrinking:
    """Its weights sum to 0.9."""

    def build(self, *, width, stacks):
        return _Policy(_ShrinkingPass)


@attrs.frozen(kw_only=True)
class Undead:
    """Rows that have halted run again."""

    def build(self, *, width, stacks):
        return _Policy(_UndeadPass)


class _Policy(nn.Module):
    def __init__(self, visit):
        super().__init__()
        self.visit = visit

    def begin(self, stack, rows):
        return self.visit(rows)


class _ShrinkingPass:
    running = None

    def __init__(self, rows):
        self.x = rows.x

    def observe(self, layer, x):
        self.x = x

    def finish(self):
        return Finished(0.9 * self.x)


class _UndeadPass:
    def __init__(self, rows):
        self.x, self.running = rows.x, rows.position % 2 == 0

    def observe(self, layer, x):
        self.x, self.running = x, ~self.running

    def finish(self):
        return Finished(self.x)


@attrs.frozen(kw_only=True)
class Multiplying:
    """Computes all rows and multiplies half of them with zero."""

    def build(self, *, width, depth):
        return _Multiplying()


class _Multiplying(nn.Module):
    scope = "layer"

    def keep(self, layer, rows):
        return Keep(None, (rows.position % 2).to(rows.x.dtype))

    def fill(self, layer, before, after, keep):
        return after


@attrs.frozen(kw_only=True)
class Level:
    """Its coarse rows are as many as the fine ones."""

    def build(self, *, width, depth):
        return _Level(depth)


class _Level(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.stacks = (Stack(0, (0,)), Stack(1, tuple(range(1, depth))), Stack(0, ()))

    def down(self, level, rows, tokens):
        return rows

    def up(self, level, fine, coarse):
        return coarse
