"""Corpora, tokenizers and data selectors, each with one fault."""

from __future__ import annotations

import hashlib
import itertools
import os

import attrs
import numpy as np

from resnetbk.kinds import Text, Windows
from resnetbk.task import Task

_COUNT = itertools.count()


@attrs.frozen(kw_only=True)
class Unsigned:
    """Its sha256 is that of the training part alone."""

    def build(self):
        return Text(b"to learn", b"held out", hashlib.sha256(b"to learn").hexdigest())


@attrs.frozen(kw_only=True)
class Changing:
    """Another text each time."""

    def build(self):
        text = f"text {next(_COUNT)}".encode()
        return Text(text, b"held out", hashlib.sha256(text + b"held out").hexdigest())


@attrs.frozen(kw_only=True)
class Mislabelled:
    """A task in which one of two examples asks nothing."""

    def build(self):
        labels = np.array([0, 2, 0, 0], np.uint16)
        task = Task(train=labels, valid=labels, length=2, valid_length=2)
        return Text(b"abab", b"abab", hashlib.sha256(b"abababab").hexdigest(), task)


@attrs.frozen(kw_only=True)
class Unlabelled:
    """No task, although it provides labels."""

    def build(self):
        return Text(b"to learn", b"held out", hashlib.sha256(b"to learnheld out").hexdigest())


class _Table:
    """Bytes through a table."""

    vocabulary = 256

    def __init__(self, table):
        self.table = np.asarray(table, np.uint8)

    def encode(self, text):
        return self.table[np.frombuffer(text, np.uint8)]

    def decode(self, tokens):
        return bytes(np.argsort(self.table)[np.asarray(tokens, np.int64)].tolist())

    def state(self):
        return {}


class _Lower(_Table):
    def decode(self, tokens):
        return bytes(tokens).lower()


@attrs.frozen(kw_only=True)
class Lower:
    """Loses capitals."""

    def build(self, *, text):
        return _Lower(np.arange(256))

    def restore(self, *, state):
        return _Lower(np.arange(256))


@attrs.frozen(kw_only=True)
class Ascii:
    """Loses the eighth bit."""

    def build(self, *, text):
        return _Table(np.arange(256) % 128)

    def restore(self, *, state):
        return self.build(text=None)


class _Viewless(_Table):
    def encode(self, text):
        return super().encode(text.replace(b"", b""))


@attrs.frozen(kw_only=True)
class Viewless:
    """Takes no views."""

    def build(self, *, text):
        return _Viewless(np.arange(256))

    def restore(self, *, state):
        return self.build(text=None)


class _Halves(_Table):
    vocabulary = 16

    def encode(self, text):
        whole = super().encode(text)
        return np.stack([whole >> 4, whole & 15], 1).reshape(-1)

    def decode(self, tokens):
        return bytes(high << 4 | low for high, low in zip(tokens[::2], tokens[1::2], strict=False))


@attrs.frozen(kw_only=True)
class Halves:
    """Two tokens per byte, neither of which decodes to a byte."""

    def build(self, *, text):
        return _Halves(np.arange(256))

    def restore(self, *, state):
        return self.build(text=None)


class _Shuffled(_Table):
    def state(self):
        return {"table": self.table.tolist()}


@attrs.frozen(kw_only=True)
class Shuffled:
    """Other tokens each time it is built."""

    def build(self, *, text):
        return _Shuffled(np.random.default_rng().permutation(256))

    def restore(self, *, state):
        return _Shuffled(state["table"])


@attrs.frozen(kw_only=True)
class Lost:
    """Is restored without its table."""

    def build(self, *, text):
        return _Table(np.random.default_rng(0).permutation(256))

    def restore(self, *, state):
        return _Table(np.arange(256))


@attrs.frozen(kw_only=True)
class Shifted:
    """Claims that token t is the byte t, and adds one."""

    def build(self, *, text):
        return _Table((np.arange(256) + 1) % 256)

    def restore(self, *, state):
        return self.build(text=None)


class _Selector:
    """Windows anywhere, by seed and step."""

    def __init__(self, tokens, window, batch, seed):
        self.tokens, self.window, self.batch, self.seed, self.step = tokens, window, batch, seed, 0

    def drawn(self, seed, step, beyond=0):
        draw = np.random.default_rng((seed, step))
        return Windows(draw.integers(0, len(self.tokens) - self.window + beyond, self.batch), self.window)

    def select(self, context):
        return self.drawn(self.seed, context.step)

    def observe(self, context, windows, losses):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass


class _Beyond(_Selector):
    def select(self, context):
        return self.drawn(self.seed, context.step, beyond=200)


class _Unseeded(_Selector):
    def __init__(self, *given):
        super().__init__(*given)
        self.seed = int.from_bytes(os.urandom(4))

    def state(self):
        return {"seed": np.array(self.seed)}

    def restore(self, state):
        self.seed = int(state["seed"])


class _Amnesiac(_Selector):
    def select(self, context):
        self.step += 1
        return self.drawn(self.seed, self.step)


class _Writing(_Selector):
    def select(self, context):
        self.tokens[0] = self.tokens[0]
        return super().select(context)


def _component(selector, doc):
    @attrs.frozen(kw_only=True)
    class Component:
        def build(self, *, tokens, window, batch, seed):
            return selector(tokens, window, batch, seed)

    Component.__doc__ = doc
    return Component


Beyond = _component(_Beyond, "Windows beyond the text.")
Unseeded = _component(_Unseeded, "Whatever the seed, other windows each time.")
Amnesiac = _component(_Amnesiac, "Saves nothing of where it is.")
Writing = _component(_Writing, "Writes to the text.")
