"""Every gradient strategy in real runs: they learn, and save the FLOPs they claim to."""

import math

import pytest
import tiny

from resnetbk.training.learner import Learner

ATTENTION = 'mixer = { use = "attention", heads = 2 }'
STRATEGIES = {
    "backprop": '{ use = "backprop", accumulate = 3 }',
    "selective": '{ use = "selective", keep = 0.5 }',
    "every-k": '{ use = "every-k", every = 3, slow = ["embedding", "trunk.layers.0"] }',
    "cached": '{ use = "cached", similarity = -1.0, sample = 0.4, cosine = -1.0, accumulate = 2 }',
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_learns(tmp_path, strategy):
    trial = tiny.experiment(
        tmp_path,
        mixer=ATTENTION,
        embedding='embedding = { use = "ngram-hash", rows = 64 }',
        steps="steps = 24",
        more=f"gradient = {STRATEGIES[strategy]}",
    )
    assert trial.train(tmp_path / "run").report.loss < math.log(256) - 0.6


@pytest.mark.parametrize(("strategy", "share"), [("selective", 2.5 / 3), ("cached", 1 / 3), ("every-k", 0.8)])
def test_the_meter_charges_what_was_done(tmp_path, strategy, share):
    """The second step of each, all of it counted; `cached` is not measured there, `every-k` is off."""
    gradient = STRATEGIES[strategy].replace("sample = 0.4", "sample = 0.0")
    spent = {}
    for name, chosen in (("plain", '"backprop"'), ("other", gradient)):
        learner = Learner(tiny.experiment(tmp_path, mixer=ATTENTION, more=f"gradient = {chosen}").spec)
        learner.learn()
        before = {phase: learner.meter.costs[phase].flops for phase in ("forward", "backward")}
        learner.learn()
        spent[name] = sum(learner.meter.costs[phase].flops - before[phase] for phase in before)
    assert spent["other"] / spent["plain"] == pytest.approx(share, abs=0.06)
