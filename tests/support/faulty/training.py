"""Gradient strategies, optimizers, initializers and observers, each with one fault."""

from __future__ import annotations

import os

import attrs
import numpy as np
import torch

from resnetbk.kinds import Batch


class _Strategy:
    """Plain back-propagation."""

    def __init__(self, weights):
        self.parameters = [weight.parameter for weight in weights]
        self.previous = None

    def differentiated(self, batch, objective, scale=1.0):
        for parameter in self.parameters:
            parameter.grad = None
        result = objective(batch)
        (scale * result.loss).backward()
        return attrs.evolve(result, loss=result.loss.detach())

    def gradients(self, step, batch, objective):
        return self.differentiated(batch, objective)

    def state(self):
        return {}

    def restore(self, state):
        pass


class _Half(_Strategy):
    def gradients(self, step, batch, objective):
        half = len(batch.inputs) // 2
        return self.differentiated(Batch(batch.inputs[:half], batch.targets[:half]), objective)


class _Summed(_Strategy):
    def gradients(self, step, batch, objective):
        return self.differentiated(batch, objective, scale=len(batch.inputs))


class _Stale(_Strategy):
    def gradients(self, step, batch, objective):
        result = self.differentiated(batch, objective)
        fresh = [parameter.grad for parameter in self.parameters]
        for parameter, old in zip(self.parameters, self.previous or fresh, strict=True):
            parameter.grad = old.clone()
        self.previous = fresh
        return result


class _Rough(_Strategy):
    def __init__(self, weights):
        super().__init__(weights)
        self.seed = _any_seed()

    def gradients(self, step, batch, objective):
        return self.differentiated(batch, objective, scale=_noise(self.seed, step))

    def state(self):
        return {"seed": self.seed}

    def restore(self, state):
        self.seed = state["seed"]


class _Descent:
    """Plain gradient descent."""

    sign, decay, momentum = 1.0, 0.0, 0.0

    def __init__(self, weights):
        self.parameters = [weight.parameter for weight in weights]
        self.last = [torch.zeros_like(parameter) for parameter in self.parameters]

    def update(self, step, progress):
        with torch.no_grad():
            for parameter, last in zip(self.parameters, self.last, strict=True):
                parameter *= 1 - self.decay
                if parameter.grad is not None:
                    last.mul_(self.momentum).add_(parameter.grad)
                    parameter -= 0.1 * self.sign * last
                parameter.grad = None
        return 0.1

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class _Uphill(_Descent):
    sign = -1.0


class _Decaying(_Descent):
    decay = 1e-3


class _Momentary(_Descent):
    momentum = 0.9


class _Rounding(_Descent):
    def eval(self):
        torch._foreach_mul_([parameter.data for parameter in self.parameters], 0.3)

    def train(self):
        torch._foreach_div_([parameter.data for parameter in self.parameters], 0.3)

    def load_state_dict(self, state):
        self.train()


class _Restless(_Descent):
    def __init__(self, weights):
        super().__init__(weights)
        self.seed = _any_seed()

    def update(self, step, progress):
        self.sign = _noise(self.seed, step)
        return super().update(step, progress)

    def state_dict(self):
        return {"seed": self.seed}

    def load_state_dict(self, state):
        self.seed = state["seed"]


def _any_seed():
    return int.from_bytes(os.urandom(4))


def _noise(seed, step):
    return np.random.default_rng((seed, step)).uniform(0.5, 1.0)


def _component(build, doc):
    @attrs.frozen(kw_only=True)
    class Component:
        def build(self, *, weights):
            return build(weights)

    Component.__doc__ = doc
    return Component


Half = _component(_Half, "Answers for half of the batch.")
Summed = _component(_Summed, "Adds up what should be averaged.")
Stale = _component(_Stale, "Gives the last gradient, and does not save it.")
Rough = _component(_Rough, "Scales gradients by chance.")
Uphill = _component(_Uphill, "Climbs.")
Decaying = _component(_Decaying, "Shrinks weights that have no gradient.")
Momentary = _component(_Momentary, "Does not save its momentum.")
Rounding = _component(_Rounding, "Comes back from its averages up to rounding.")
Restless = _component(_Restless, "Scales updates by chance.")


@attrs.frozen(kw_only=True)
class Rolling:
    """Draws from a generator of its own."""

    def build(self):
        return self

    def initialize(self, model, tokenizer, depth):
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return ["drew"]


@attrs.frozen(kw_only=True)
class Rambling:
    """Says two lines in one."""

    def build(self):
        return self

    def initialize(self, model, tokenizer, depth):
        return ["did nothing,\nor next to it"]


@attrs.frozen(kw_only=True)
class Deaf:
    """Implements no hook."""

    def build(self, *, folder, spec):
        return self
