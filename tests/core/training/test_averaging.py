"""Averaged weights: they are evaluated, saved and started from, and change nothing that is trained."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from torch import nn

import resnetbk
from resnetbk.errors import StorageError, UserError
from resnetbk.kinds import Weight
from resnetbk.runs import checkpoint
from resnetbk.training.averaging import Averaging, averaged
from resnetbk.training.experiment import Experiment
from resnetbk_plugins.optimizer.adamw import AdamW

AVERAGE = "average = 0.7\n"


def experiment(folder, more: str = "", **changes: str) -> Experiment:
    more += "save = 1\nkeep = 100\nevaluate = 4"
    return tiny.experiment(folder, **{"more": more, "steps": "steps = 12", **changes})


def losses(run) -> list[float]:
    return [line["loss"] for line in run.folder.metrics() if line["event"] == "step"]


def weights(run, step: int) -> dict[str, torch.Tensor]:
    return checkpoint.load(run.folder.checkpoints / checkpoint.name(step)).model


def test_averages_are_those_of_the_plain_run_and_are_what_is_evaluated(tmp_path):
    plain = experiment(tmp_path).train(tmp_path / "plain")
    run = experiment(tmp_path, AVERAGE).train(tmp_path / "averaged")
    assert losses(run) == losses(plain)  # they change nothing that is trained
    expected = weights(plain, 0)
    for step in range(12):
        decay = min(0.7, (1 + step) / (10 + step))
        for name, weight in weights(plain, step + 1).items():
            expected[name] = decay * expected[name] + (1 - decay) * weight
    torch.testing.assert_close(weights(run, 12), expected)
    assert run.report.loss != plain.report.loss
    torch.testing.assert_close(run.model.state_dict(), weights(run, 12), rtol=0, atol=0)
    again = resnetbk.open_run(run.folder.path)
    assert again.evaluate().loss == run.evaluate().loss == run.report.loss
    assert [*again.generate("the ", 5)] == [*run.generate("the ", 5)]


@pytest.mark.parametrize("more", ["", "log_every = 3\n"], ids=["read at once", "read later"])
def test_a_resumed_run_goes_on_with_the_weights_it_trained_bit_for_bit(tmp_path, more):
    trial = experiment(tmp_path, AVERAGE + more)
    whole = trial.train(tmp_path / "whole")
    for stop in (1, 4, 7):
        folder = tiny.stopped(whole.folder.path, stop, tmp_path / f"stopped-{stop}")
        resumed = trial.train(folder, resume=True)
        assert losses(resumed) == losses(whole)
        assert resumed.report.loss == whole.report.loss
        torch.testing.assert_close(weights(resumed, 12), weights(whole, 12), rtol=0, atol=0)


def test_a_run_starts_from_the_averages_of_its_parent(tmp_path):
    parent = experiment(tmp_path, AVERAGE).train(tmp_path / "parent")
    start = f'start = {{ use = "run", path = "{tmp_path / "parent"}" }}\n'
    child = experiment(tmp_path, start, steps="steps = 1").train(tmp_path / "child")
    torch.testing.assert_close(weights(child, 0), weights(parent, 12), rtol=0, atol=0)


def pair(decay: float = 0.5) -> tuple[nn.Parameter, Averaging]:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    rows = [Weight("w", parameter, "vector")]
    return parameter, Averaging(AdamW(lr=0.1, decay="constant").build(weights=rows), rows, decay)


def test_an_update_that_found_inf_moves_no_average():
    parameter, optimizer = pair()
    optimizer.found_inf = torch.zeros(())
    for step, bad in enumerate((0.0, 1.0)):
        before = optimizer.other["w"].clone()
        optimizer.found_inf.fill_(bad)
        parameter.grad = torch.tensor([1.0, math.nan if bad else 1.0])
        optimizer.update(step, 0.0)
        assert torch.equal(optimizer.other["w"], before) == bool(bad)


def test_what_is_trained_comes_back_to_the_bit_even_after_an_error():
    parameter, optimizer = pair()
    parameter.grad = torch.ones(2)
    optimizer.update(0, 0.0)
    before = parameter.detach().clone()

    def fail() -> None:
        optimizer.eval()  # twice is as once
        assert not torch.equal(parameter, before)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), averaged(optimizer):
        fail()
    assert torch.equal(parameter, before)


def test_a_state_of_other_weights_is_refused():
    _, optimizer = pair()
    state = optimizer.state_dict() | {"other": {}}
    with pytest.raises(StorageError, match=r"train\.average"):
        optimizer.load_state_dict(state)


def test_a_decay_of_1_would_keep_the_first_weights(tmp_path):
    with pytest.raises(UserError, match=r"train\.average: must be less than 1, is 1\.0"):
        experiment(tmp_path, "average = 1\n")
