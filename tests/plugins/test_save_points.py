"""Every data selector and gradient strategy, stopped at any step and resumed: the result is unchanged."""

from __future__ import annotations

import os
import signal
import sys

import pytest
import tiny
import torch

from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.signals import Interrupted, Signals
from resnetbk.training.trainer import Trainer

STEPS, WARMUP = 14, 3
EPOCH = 9
"""The step in which the first epoch ends: 612 tokens of 90 % of 680, in steps of 64."""

POINTS = {
    "the first moment": 0,
    "after one step": 1,
    "in warm-up": WARMUP - 1,
    "in mid-epoch": 5,
    "before the epoch's last step": EPOCH,
    "after the epoch's last step": EPOCH + 1,
    "after the next one": EPOCH + 2,
}
"""Steps done. The eighth point is a signal between two micro-batches."""

SELECTORS = {
    "shuffle": "",
    "curriculum": 'measure = "rarity", every = 2, probe = 4',
    "reverse": 'measure = "compressibility", pacing = "step", every = 3',
    "active": "refresh = 3, warmup = 0.2",
    "excess-loss": "pool = 2.0",
    "grow": "start = 4",
    "bandit": "",
    "baby-steps": "rate = 0.5",
}
STRATEGIES = {
    "backprop": "accumulate = 3",
    "selective": "keep = 0.5",
    "every-k": 'every = 3, slow = ["trunk.layers.0"]',
    "cached": "similarity = -1.0, sample = 0.4, cosine = -1.0, accumulate = 2",
    "labelled": "accumulate = 3",
    "truncated": "accumulate = 3",
}


def use(name: str, keys: str) -> str:
    return f"{{ use = {name!r}, {keys} }}" if keys else repr(name)


CASES = {
    **{name: {"selector": f"selector = {use(name, keys)}"} for name, keys in SELECTORS.items()},
    **{name: {"gradient": f"gradient = {use(name, keys)}"} for name, keys in STRATEGIES.items()},
}
CASES["bandit"]["corpus"] = CASES["baby-steps"]["corpus"] = (
    'corpus = { use = "mixture", parts = [{ use = "text", path = "TEXT" }] }'
)
CASES["labelled"]["corpus"] = 'corpus = { use = "needles", length = 16, needles = 2, symbols = 4 }'
CASES["truncated"]["depth"] = 'depth = 2\nshare = "layers"'

OF_EPOCHS = [point for point in POINTS if "epoch" in point or "moment" in point]
# of strategies, which know nothing of epochs: each is another phase of `every = 3`
OF_STEPS = ["the first moment", "after one step", "in mid-epoch"]
TRIED = {
    **{name: OF_EPOCHS for name in SELECTORS},
    **{name: OF_STEPS for name in STRATEGIES},
    "shuffle": list(POINTS),
    "active": list(POINTS),
}
"""Where each case stops: at the points that are about the optimizer with the selector that it is used with by
default, and with the one that warms up too."""


def experiment(folder, gradient='gradient = { use = "backprop", accumulate = 2 }', **changes):
    text = folder / "short.txt"
    text.write_text((tiny.SENTENCE * 11)[:680])
    lines = {
        "corpus": 'corpus = { use = "text", path = "TEXT" }',
        "mixer": 'mixer = { use = "attention", heads = 2 }',
        "depth": "depth = 1",
        "steps": f"steps = {STEPS}",
        "optimizer": f'optimizer = {{ use = "muon", warmup = {WARMUP} }}',
        "more": f"{gradient}\nsave = 1\nkeep = 100",
    } | changes
    return tiny.experiment(folder, **lines | {"corpus": lines["corpus"].replace("TEXT", str(text))})


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The uninterrupted run of a case, trained once for all its tests."""
    points = {}

    def of(name):
        if name not in points:
            folder = tmp_path_factory.mktemp(name)
            trial = experiment(folder, **CASES[name])
            points[name] = trial, trial.train(folder / "whole")
        return points[name]

    return of


def test_nobody_is_left_out():
    registry = Registry.discover()
    own = [
        {entry.name for entry in registry.entries(kind) if entry.plugin == "resnetbk"}
        for kind in ("data-selector", "gradient-strategy")
    ]
    assert own == [set(SELECTORS), set(STRATEGIES)]


def test_the_epoch_ends_where_it_is_said_to(whole):
    _, run = whole("shuffle")
    windows = (len(run.data().train) - 1) // 16
    assert EPOCH * 4 < windows < (EPOCH + 1) * 4


@pytest.mark.parametrize(("name", "point"), [(name, point) for name in CASES for point in TRIED[name]])
def test_it_goes_on_bit_for_bit(whole, tmp_path, name, point):
    trial, run = whole(name)
    stopped = tiny.stopped(run.folder.path, POINTS[point], tmp_path / "stopped")
    resumed = trial.train(stopped, resume=True)
    assert same(run.model, resumed.model)
    assert resumed.report.loss == run.report.loss
    assert resumed.report.tokens == run.report.tokens


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize("name", CASES)
def test_a_signal_in_mid_accumulation_lets_the_step_end(whole, tmp_path, name):
    trial, run = whole(name)
    trainer = Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / "run"))
    honest, calls = trainer.learner._objective, []

    def objective(batch):
        calls.append(trainer.learner.step)
        if trainer.learner.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return honest(batch)

    trainer.learner._objective = objective
    with Signals() as signals, pytest.raises(Interrupted):
        trainer.run(signals)
    assert checkpoint.load(checkpoint.latest(trainer.folder.path)).state["step"] == 5
    again = Trainer(trial.spec, trial.registry, trainer.folder)
    again.resume()
    again.run(Signals())
    assert same(run.model, again.learner.model)
    assert again.learner.tokens == run.report.tokens
