"""Core with both first-party plugins blocked: a stranger's alone is enough to train and write."""

from __future__ import annotations

import sys

import pytest

from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk.training.experiment import Experiment
from resnetbk.training.run import Run

MANIFEST = """
schema = 1
[plugin]
hooks = "stranger.hooks"
[sequence-mixer.last]
use = "stranger.parts:Last"
summary = "adds the row before"
provides = ["causal", "streaming", "any-length"]
[channel-mixer.linear]
use = "stranger.parts:Linear"
summary = "one projection"
provides = ["causal", "streaming", "any-length"]
default = true
[embedding.plain]
use = "stranger.parts:Plain"
summary = "a table"
provides = ["causal", "streaming", "any-length"]
default = true
[halting-policy.none]
use = "stranger.parts:NoHalting"
summary = "identity"
provides = ["causal", "streaming", "any-length"]
default = true
[resolution-scheduler.one]
use = "stranger.parts:OneScale"
summary = "identity"
provides = ["causal", "streaming", "any-length"]
default = true
[sparsity-gate.all]
use = "stranger.parts:All"
summary = "identity"
provides = ["causal", "streaming", "any-length"]
default = true
[data-selector.random]
use = "stranger.parts:Random"
summary = "random windows"
default = true
[gradient-strategy.plain]
use = "stranger.parts:Gradient"
summary = "identity"
default = true
[corpus.abc]
use = "stranger.parts:Abc"
summary = "the alphabet again and again"
default = true
[tokenizer.letters]
use = "stranger.parts:Letters"
summary = "bytes"
default = true
[optimizer.sgd]
use = "stranger.parts:SGD"
summary = "plain descent"
default = true
[initializer.none]
use = "stranger.parts:AsBuilt"
summary = "identity"
default = true
"""

PARTS = """
import attrs, hashlib
import numpy as np
import torch
from torch import nn
from resnetbk.kinds import Finished, Keep, Stack, Text, Windows

class Shift(nn.Module):
    def forward(self, x, position, length):
        return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
    def initial_state(self, batch):
        return {"last": torch.zeros(batch, 8)}
    def step(self, x, position, state):
        return state["last"], {"last": x}

@attrs.frozen
class Last:
    def build(self, *, width, depth): return Shift()

class Projection(nn.Linear):
    def forward(self, x): return super().forward(x).relu(), {}

@attrs.frozen
class Linear:
    def build(self, *, width, depth): return Projection(width, width)

class TokenTable(nn.Embedding):
    def forward(self, tokens, position): return super().forward(tokens)
    def initial_state(self, batch): return {}
    def step(self, tokens, position, state): return super().forward(tokens), state

@attrs.frozen
class Plain:
    def build(self, *, vocabulary, width): return TokenTable(vocabulary, width)

class Identity:
    scope = "layer"
    def begin(self, stack, rows):
        self.x, self.running = rows.x, None
        return self
    def observe(self, layer, x): self.x = x
    def finish(self): return Finished(self.x)
    def keep(self, layer, rows): return Keep()
    def initial_state(self, batch): return {}
    def initialize(self, model, tokenizer, depth): return []

@attrs.frozen
class NoHalting:
    def build(self, *, width, stacks): return Identity()

@attrs.frozen
class OneScale:
    def build(self, *, width, depth):
        scheduler = Identity()
        scheduler.stacks = (Stack(0, tuple(range(depth))),)
        return scheduler

@attrs.frozen
class All:
    def build(self, *, width, depth): return Identity()

@attrs.define
class Chooser:
    tokens: object
    window: int
    batch: int
    seed: int
    def select(self, context):
        rng = np.random.default_rng((self.seed, context.step))
        return Windows(rng.integers(0, len(self.tokens) - self.window, self.batch), self.window)
    def observe(self, context, windows, losses): pass
    def state(self): return {}
    def restore(self, state): pass

@attrs.frozen
class Random:
    def build(self, *, tokens, window, batch, seed): return Chooser(tokens, window, batch, seed)

class Backward:
    def gradients(self, step, batch, objective):
        result = objective(batch)
        result.loss.backward()
        return result
    def state(self): return {}
    def restore(self, state): pass

@attrs.frozen
class Gradient:
    def build(self, *, weights): return Backward()

@attrs.frozen
class Abc:
    def build(self):
        text = b"abcdefghijklmnopqrstuvwxyz " * 40
        return Text(text, text[:200], hashlib.sha256(text + text[:200]).hexdigest())

class ByteTokens:
    vocabulary = 256
    def encode(self, text): return np.frombuffer(text, np.uint8)
    def decode(self, tokens): return bytes(tokens)
    def state(self): return {}

@attrs.frozen
class Letters:
    def build(self, *, text): return ByteTokens()
    def restore(self, *, state): return ByteTokens()

@attrs.define
class Descent:
    weights: object
    rate: float
    @torch.no_grad()
    def update(self, step, progress):
        for weight in self.weights:
            if weight.parameter.grad is not None:
                weight.parameter.sub_(self.rate * weight.parameter.grad)
                weight.parameter.grad = None
        return self.rate
    def state_dict(self): return {}
    def load_state_dict(self, state): pass

@attrs.frozen
class SGD:
    lr: float = 1.0
    def build(self, *, weights): return Descent(weights, self.lr)

@attrs.frozen
class AsBuilt:
    def build(self): return Identity()
"""

HOOKS = """
from resnetbk.hooks import hookimpl
seen = []
@hookimpl
def resnetbk_step(report): seen.append(report.step)
"""

SPEC = """
name = "alone"
[data]
window = 8
[model]
width = 8
depth = 2
mixer = "last"
[train]
steps = 60
batch = 8
"""


@pytest.fixture
def registry(fake_plugin):
    fake_plugin("stranger", manifest=MANIFEST, modules={"parts": PARTS, "hooks": HOOKS})
    return Registry.discover(block=["resnetbk", "resnetbk-instrument"])


def test_a_stranger_alone_is_enough(registry, tmp_path):
    before = set(sys.modules)
    spec = read_text(SPEC, registry)
    assert spec.model.halting.name == "none"
    run = Experiment(spec, registry).train(tmp_path / "run")
    assert run.report.loss < 2.5  # below ln 27, what the letters' frequencies give
    new = set(sys.modules) - before
    assert not any(name.startswith(("resnetbk_plugins", "resnetbk_instrument")) for name in new)
    assert sys.modules["stranger.hooks"].seen == list(range(1, 61))
    again = Run.open(tmp_path / "run", registry)
    assert len(b"".join(again.generate("abc", 20))) == 20


def test_a_blocked_plugin_is_named_when_its_component_is_asked_for(registry):
    with pytest.raises(UserError, match="resnetbk"):
        read_text(SPEC.replace('"last"', '"resnetbk/attention"'), registry)


def test_hooks_of_an_unused_plugin_are_not_imported(fake_plugin, tmp_path):
    import tiny

    manifest = "schema = 1\n[plugin]\nhooks = 'bystander.hooks'\n"
    fake_plugin("bystander", manifest=manifest, modules={"hooks": "raise SystemExit('imported')"})
    tiny.experiment(tmp_path, steps="steps = 1").train(tmp_path / "run")
    assert "bystander.hooks" not in sys.modules
