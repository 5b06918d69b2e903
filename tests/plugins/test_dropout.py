"""Dropout: in training alone, as large as it says, and without a random number where there is none."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import tiny
import torch
from torch import nn

import resnetbk
from resnetbk.kinds import Windows
from resnetbk.training.learner import Learner
from resnetbk_plugins.channel_mixer.mlp import MLP
from resnetbk_plugins.channel_mixer.swiglu import SwiGLU
from resnetbk_plugins.embedding.learned_positions import LearnedPositions
from resnetbk_plugins.embedding.ngram_hash import NgramHash
from resnetbk_plugins.embedding.table import Table
from resnetbk_plugins.sequence_mixer.attention import Attention
from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal
from resnetbk_plugins.sequence_mixer.bk_moebius import BKMoebius
from resnetbk_plugins.sequence_mixer.bk_resolvent import BKResolvent
from resnetbk_plugins.sequence_mixer.gated_diagonal import GatedDiagonal
from resnetbk_plugins.sequence_mixer.gated_linear import GatedLinear

WIDTH, ROWS = 16, 40
MIXERS = {
    "attention": Attention(),
    "bk-causal": BKCausal(chains=8),
    "bk-resolvent": BKResolvent(chains=8),
    "gated-diagonal": GatedDiagonal(channels=24),
    "bk-moebius": BKMoebius(chains=8),
    "gated-linear": GatedLinear(keys=4),
}
EMBEDDINGS = {"table": Table(), "learned-positions": LearnedPositions(), "ngram-hash": NgramHash(rows=64)}
CHANNEL = {"mlp": MLP(), "swiglu": SwiGLU()}
PARTS = {**MIXERS, **EMBEDDINGS, **CHANNEL}
every_part = pytest.mark.parametrize("name", PARTS)


def part(name: str, dropout: float) -> tuple[nn.Module, tuple[object, ...]]:
    """A module whose weights are not zero, and what to call it with."""
    torch.manual_seed(0)
    component = attrs.evolve(PARTS[name], dropout=dropout)
    if name in EMBEDDINGS:
        module = component.build(vocabulary=11, width=WIDTH)
        inputs = (torch.randint(11, (2, ROWS)), torch.arange(ROWS).repeat(2, 1))
    else:
        module = component.build(width=WIDTH, depth=1)
        x = torch.randn(2, ROWS, WIDTH)
        inputs = (x[0],) if name in CHANNEL else (x, torch.arange(ROWS).repeat(2, 1), None)
        nn.init.normal_(module.output.weight)
    return module, inputs


def rows(module: nn.Module, inputs: tuple[object, ...]) -> torch.Tensor:
    result = module(*inputs)
    return result[0] if isinstance(result, tuple) else result


@every_part
def test_zero_draws_no_random_number_and_changes_no_bit(name: str) -> None:
    module, inputs = part(name, 0.0)
    before = torch.get_rng_state()
    trained = rows(module.train(), inputs)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(trained, rows(module.eval(), inputs))


@every_part
def test_in_training_a_share_is_zero_and_the_rest_larger(name: str) -> None:
    module, inputs = part(name, 0.25)
    plain = rows(module.eval(), inputs)
    assert torch.equal(plain, rows(part(name, 0.0)[0].eval(), inputs))
    noisy = rows(module.train(), inputs)
    assert (noisy == 0).double().mean() == pytest.approx(0.25, abs=0.05)
    if name != "attention":  # whose weights have dropout too
        torch.testing.assert_close(noisy[noisy != 0], plain[noisy != 0] / 0.75)
    assert not torch.equal(noisy, rows(module, inputs))


def test_attention_drops_weights_too() -> None:
    module, inputs = part("attention", 0.25)
    module.dropout = nn.Identity()
    module.dropout.p = 0.25
    plain, noisy = rows(module.eval(), inputs), rows(module.train(), inputs)
    assert not torch.allclose(noisy, plain)
    many = torch.stack([rows(module, inputs) for _ in range(400)]).mean(0)
    assert (many - plain).abs().max() < 0.4 * plain.abs().max()  # right in expectation


@every_part
@pytest.mark.parametrize("wrong", [-0.1, 1.0, math.nan])
def test_out_of_range_is_refused(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        attrs.evolve(PARTS[name], dropout=wrong)


def spec(folder, **more: str):
    changes = {
        "mixer": 'mixer = { use = "attention", dropout = 0.2 }',
        "channel": 'channel = { use = "mlp", dropout = 0.2 }',
        "embedding": 'embedding = { use = "ngram-hash", rows = 64, dropout = 0.1 }',
    }
    return tiny.experiment(folder, **(changes | more))


def test_a_run_with_dropout_resumes_bit_for_bit_and_evaluates_without_it(tmp_path) -> None:
    trial = spec(tmp_path, steps="steps = 6", more="save = 1\nkeep = 100\nevaluate = 2")
    whole = trial.train(tmp_path / "whole")
    resumed = trial.train(tiny.stopped(whole.folder.path, 3, tmp_path / "stopped"), resume=True)
    losses = [
        [line["loss"] for line in run.folder.metrics() if line["event"] == "step"] for run in (whole, resumed)
    ]
    assert losses[0] == losses[1]
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    assert not whole.model.training  # what `train` gives answers as what `open_run` gives
    opened = resnetbk.open_run(tmp_path / "whole")
    assert opened.evaluate().loss == whole.report.loss == whole.evaluate().loss
    assert b"".join(opened.generate("the ", 8)) == b"".join(whole.generate("the ", 8))


def test_steps_have_dropout_and_scores_have_none(tmp_path) -> None:
    learner = Learner(spec(tmp_path).spec)
    windows = Windows(np.array([0, 16, 32, 48]), 16)
    with torch.no_grad():
        for parameter in learner.parameters:
            parameter.normal_(std=0.2)
    first, second = (learner._score(windows) for _ in range(2))
    assert first.tolist() == second.tolist()
    assert learner.model.training
    batch = learner.data.batch(windows, learner.device)
    assert not torch.equal(learner._objective(batch).loss, learner._objective(batch).loss)
