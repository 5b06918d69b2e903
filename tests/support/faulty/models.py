"""Mixers and embeddings, each with one fault."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch import nn

from resnetbk.kinds import with_role
from resnetbk_authoring.testing.parts import RunningMean


def component(module, doc="A mixer with a fault."):
    """A component without keys that builds `module`."""

    @attrs.frozen(kw_only=True)
    class Component:
        def build(self, *, width, depth):
            return module(width)

    Component.__doc__ = doc
    return Component


@attrs.frozen(kw_only=True)
class Silent:
    """Says nothing of its key."""

    chains: int = 1

    def build(self, *, width, depth):
        return RunningMean(width)


@attrs.define(kw_only=True)
class Mutable:
    """Can be changed after it was built."""

    def build(self, *, width, depth):
        return RunningMean(width)


@attrs.frozen(kw_only=True)
class Drifting:
    """Changes each time it is written and read.

    size  grows
    """

    size: int = attrs.field(default=1, converter=lambda size: size + 1)

    def build(self, *, width, depth):
        return RunningMean(width)


class _Superstitious(RunningMean):
    def forward(self, x, position, length):
        y = super().forward(x, position, length)
        return y * float("nan") if x.shape[1] == 13 else y


class _Short(RunningMean):
    def forward(self, x, position, length):
        y = super().forward(x, position, length)
        return y * float("nan") if 1 < x.shape[1] < 9 else y


class _Leaking(RunningMean):
    def forward(self, x, position, length):
        return super().forward(x, position, length) + 1e-3 * x.mean(1, keepdim=True)


class _Masking(RunningMean):
    """Multiplies what a row must not see by zero."""

    def forward(self, x, position, length):
        seen = x.new_ones(x.shape[1], x.shape[1]).tril()
        return self.output(seen / seen.sum(1, keepdim=True) @ x)


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


class _Shy(RunningMean):
    def __init__(self, width):
        super().__init__(width)
        self.turn = nn.Parameter(torch.eye(width))  # says no role

    def forward(self, x, position, length):
        return super().forward(x @ self.turn, position, length)


class _Hiding(RunningMean):
    def __init__(self, width):
        super().__init__(width)
        self.gain = torch.randn(width)  # neither parameter nor buffer

    def forward(self, x, position, length):
        return super().forward(x, position, length) * self.gain


class _Fragile(RunningMean):
    def forward(self, x, position, length):
        y = super().forward(x, position, length)
        ones = torch.ones_like(y)
        return y * 1e-3 / ((ones + 1e-3) - ones)


class _Crowded(RunningMean):
    def forward(self, x, position, length):
        return super().forward(x.reshape(x.shape[0], -1, x.shape[2]), position, length)


class _Padded(RunningMean):
    def forward(self, x, position, length):
        y = super().forward(x, position, length)
        return y if length is None else y * (length / x.shape[1])[:, None, None]


class _Stuttering(RunningMean):
    within = False

    def forward(self, x, position, length):
        if self.within:
            return super().forward(x, position, length)
        self.within = True
        y = (self(x, position, length) + self(x, position, length)) / 2
        self.within = False
        return y


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


class _Blocks(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.output = nn.Linear(width, width)

    def forward(self, x):
        y = self.output(x)
        whole = len(y) // 7 * 7
        return torch.cat([y[:whole].unflatten(0, (-1, 7)).cumsum(1).flatten(0, 1), y[whole:]]), {}


class _Table(nn.Module):
    """Learned rows."""

    def __init__(self, rows, width):
        super().__init__()
        self.weight = with_role(nn.Parameter(torch.randn(rows, width)), "table")

    def forward(self, tokens, position):
        return self.weight[tokens]


class _Bounded(_Table):
    def __init__(self, rows, width):
        super().__init__(rows, width)
        self.places = with_role(nn.Parameter(torch.randn(1024, width)), "table")

    def forward(self, tokens, position):
        return super().forward(tokens, position) + self.places[position]


class _Centred(_Table):
    def forward(self, tokens, position):
        x = super().forward(tokens, position)
        return x - 0.5 * x.mean(1, keepdim=True)


@attrs.frozen(kw_only=True)
class Bounded:
    """Knows 1024 positions, and claims any length."""

    def build(self, *, vocabulary, width):
        return _Bounded(vocabulary, width)


@attrs.frozen(kw_only=True)
class Centred:
    """Depends on the mean of all rows, padding included."""

    def build(self, *, vocabulary, width):
        return _Centred(vocabulary, width)


Superstitious = component(_Superstitious)
Short = component(_Short)
Leaking = component(_Leaking)
Masking = component(_Masking)
Forgetful = component(_Forgetful)
Sociable = component(_Sociable)
Moody = component(_Moody)
Idle = component(_Idle)
Shy = component(_Shy)
Hiding = component(_Hiding)
Fragile = component(_Fragile)
Crowded = component(_Crowded)
Padded = component(_Padded)
Stuttering = component(_Stuttering)
Onesided = component(RunningMean)
Twice = component(_Twice, "A channel mixer that computes each row twice.")
Blocks = component(_Blocks, "A channel mixer that adds up rows in blocks of seven.")
