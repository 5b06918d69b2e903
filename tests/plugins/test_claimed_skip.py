"""Rows that a model reports as computed, against executed FLOPs.

Rows of different number in each sequence are padded to the longest for the mixer, whose padding is work that
nobody claims; in windows of 512 tokens it has to stay below two percent of the layers.
"""

from __future__ import annotations

import functools
import random

import pytest
import torch

from resnetbk.metering.flops import FlopCounter, by_component
from resnetbk.model.assemble import assemble
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text

DEPTH, BATCH, WINDOW = 4, 8, 512
ACT, TOP_RATE = 'halting = { use = "act", bias = -0.5 }', 'gate = { use = "top-rate", keep = 0.5 }'
HOURGLASS = 'resolution = { use = "hourglass", layers = [1, 2, 1], factor = 4 }'
SKIPPING = {
    "act": ACT,
    "random-halting": 'halting = { use = "random", layers = 2.5 }',
    "fixed": 'halting = { use = "fixed", layers = 3 }',
    "confidence": 'halting = { use = "confidence", agree = 0.6, drop = 0.3 }',
    "random-gate": 'gate = { use = "random", keep = 0.5 }',
    "top-rate": TOP_RATE,
    "gumbel": 'gate = { use = "gumbel", keep = 0.5 }',
    "hourglass": HOURGLASS,
    "boundary": 'resolution = { use = "boundary", layers = [1, 2, 1] }',
    "together": f"{HOURGLASS}\n{ACT}\n{TOP_RATE}",
}


def text() -> torch.Tensor:
    """(BATCH, WINDOW) bytes of made-up words of different lengths."""
    draw = random.Random(0)
    words = ("".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 9))) for _ in range(BATCH * WINDOW))
    return torch.tensor(list(" ".join(words).encode()[: BATCH * WINDOW])).view(BATCH, WINDOW)


def layers(policies: str, *, training: bool) -> tuple[int, float]:
    """The FLOPs of all mixers and channel mixers in a pass, and the number of rows it reports."""
    head = 'name = "t"\n[data]\ncorpus = "python-docs"\n[train]\nsteps = 1\n'
    model = 'width = 64\ndepth = 4\nmixer = { use = "bk-causal", chains = 64 }\n'
    spec = read_text(f"{head}[model]\n{model}{policies}\n", Registry.discover())
    built = assemble(spec.model, vocabulary=256, seed=0).train(training)
    torch.manual_seed(0)
    counter = FlopCounter()
    with torch.no_grad(), by_component(built, counter), counter:
        output = built(text())
    return counter.components["mixer"] + counter.components["channel"], sum(output.rows)


@functools.cache
def dense() -> tuple[int, float]:
    actual = layers("", training=False)
    assert actual[1] == DEPTH * BATCH * WINDOW
    return actual


@pytest.mark.parametrize("training", [False, True], ids=["reading", "training"])
@pytest.mark.parametrize("name", SKIPPING)
def test_claimed_skip_is_executed_skip(name: str, training: bool) -> None:
    whole, all_rows = dense()
    executed, rows = layers(SKIPPING[name], training=training)
    claimed = rows / all_rows
    if name != "confidence":  # which trains every layer, and exits only once its units are trained
        assert claimed < 0.9
    assert executed / whole == pytest.approx(claimed, rel=0.02)
