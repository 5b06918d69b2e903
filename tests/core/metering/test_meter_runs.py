"""A run's meter: what was trained, scored, refused or used again is charged, and nothing twice."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.kinds import Windows
from resnetbk.metering import meter
from resnetbk.metering.meter import PHASES, STEP_PHASES
from resnetbk.runs import checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.signals import Signals
from resnetbk.training.trainer import Trainer


def trainer_of(tmp_path, **changes: str) -> Trainer:
    trial = tiny.experiment(tmp_path, **changes)
    return Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / "run"))


def test_a_run_says_what_each_phase_cost(tmp_path):
    trainer = trainer_of(tmp_path, more="evaluate = 4")
    report = trainer.run(Signals())
    assert tuple(report.phases) == PHASES
    calls = {name: cost.calls for name, cost in report.phases.items()}
    passes = -(-trainer.learner.data.valid.size // 8192)
    assert calls["setup"] == 1
    assert calls["forward"] == calls["backward"] == 8
    assert calls["evaluation"] >= 2 * passes
    assert all(cost.seconds > 0 for cost in report.phases.values())
    assert all(cost.flops > 0 for name, cost in report.phases.items() if name != "scoring")
    assert report.seconds == pytest.approx(sum(report.phases[name].seconds for name in STEP_PHASES))
    charged = ("setup", *STEP_PHASES)
    assert report.flops == sum(report.phases[name].flops for name in charged)
    assert report.cpu_seconds == sum(report.phases[name].cpu_seconds for name in charged)
    assert report.peak_memory > 2**20
    lines = trainer.folder.metrics()
    assert lines[-1]["flops"] == report.flops
    assert lines[-1]["phases"]["forward"]["calls"] == 8
    steps = [line["flops"] for line in lines if line["event"] == "step"]
    assert report.phases["setup"].flops < steps[0]
    assert steps[-1] == report.flops
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mixer": 'mixer = "attention"', "more": 'gradient = { use = "backprop", accumulate = 3 }'},
        {"embedding": 'embedding = { use = "ngram-hash", rows = 64 }', "channel": 'channel = "moe"'},
    ],
)
def test_samples_tell_what_counting_every_step_tells(tmp_path, monkeypatch, changes):
    steps = "steps = 40"
    estimated = tiny.experiment(tmp_path, steps=steps, **changes).train(tmp_path / "sampled")
    monkeypatch.setattr(meter, "sampled", lambda call: True)
    counted = tiny.experiment(tmp_path, steps=steps, **changes).train(tmp_path / "counted")
    assert estimated.report.flops == pytest.approx(counted.report.flops, rel=0.005)
    for name in ("forward", "backward", "optimizer", "evaluation"):
        found, expected = estimated.report.phases[name], counted.report.phases[name]
        assert found.flops == pytest.approx(expected.flops, rel=0.01)
        assert found.calls == expected.calls
    # and counting has changed nothing
    for a, b in zip(estimated.model.parameters(), counted.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert estimated.report.loss == counted.report.loss


def test_a_resumed_run_has_spent_what_the_whole_one_has(tmp_path):
    trial = tiny.experiment(tmp_path, steps="steps = 18", more="save = 1\nkeep = 100")
    whole = trial.train(tmp_path / "whole")

    def spent(run) -> list[float]:
        return [line["flops"] for line in run.folder.metrics() if line["event"] == "step"]

    for stop in (0, 1, 7, 17):
        folder = tiny.stopped(whole.folder.path, stop, tmp_path / f"stopped-{stop}")
        before = checkpoint.load(folder / "checkpoints" / checkpoint.name(stop)).state["meter"]
        resumed = trial.train(folder, resume=True)
        assert spent(resumed) == spent(whole)
        for name, cost in resumed.report.phases.items():
            assert cost.calls == whole.report.phases[name].calls
            assert cost.seconds >= before["costs"][name]["seconds"]
        setup = before["costs"]["setup"]["seconds"]
        assert resumed.report.phases["setup"].seconds == setup == whole.report.phases["setup"].seconds


def test_a_refused_step_still_costs(tmp_path):
    good = tiny.experiment(tmp_path).train(tmp_path / "good").report
    trainer = trainer_of(tmp_path, more='nonfinite = "skip"')
    honest = trainer.learner.strategy.gradients

    def gradients(step, batch, objective):
        result = honest(step, batch, objective)
        if step in (2, 5):
            trainer.learner.parameters[0].grad.fill_(math.nan)
        return result

    trainer.learner.strategy.gradients = gradients
    report = trainer.run(Signals())
    for name in ("forward", "backward"):
        assert report.phases[name].calls == good.phases[name].calls
        assert report.phases[name].flops == pytest.approx(good.phases[name].flops, rel=0.001)
    assert report.phases["optimizer"].calls == good.phases["optimizer"].calls - 2


def test_scored_windows_cost(tmp_path):
    """A selector that scores 12 windows, every fifth step."""
    trainer = trainer_of(tmp_path, steps="steps = 40")
    honest = trainer.learner.selector.select

    def select(turn):
        if turn.step % 5 == 3:
            assert turn.score(Windows(np.arange(12), 16)).shape == (12,)
        return honest(turn)

    trainer.learner.selector.select = select
    report = trainer.run(Signals())
    scored, trained = report.phases["scoring"], report.phases["forward"]
    assert trainer.learner.meter.costs["scoring"].tokens == 8 * 12 * 16
    assert scored.flops == pytest.approx(trained.flops * (8 * 12) / (40 * 4), rel=0.01)
    assert report.flops == pytest.approx(sum(report.phases[n].flops for n in ("setup", *STEP_PHASES)))


def test_scores_come_in_halves_where_memory_runs_out(tmp_path):
    learner = trainer_of(tmp_path).learner
    windows, forward = Windows(np.arange(7), 16), learner._forward
    whole = learner._score(windows)

    def small(batch, most):
        if len(batch.inputs) > most:
            raise MemoryError
        return forward(batch)

    learner._forward = lambda batch: small(batch, 2)
    np.testing.assert_allclose(learner._score(windows), whole, rtol=1e-5)
    learner._forward = lambda batch: small(batch, 0)
    with pytest.raises(UserError, match="memory does not suffice to score one window"):
        learner._score(windows)


@pytest.mark.parametrize("every", [2, 3])
def test_gradients_used_again_cost_nothing_again(tmp_path, every):
    trainer = trainer_of(tmp_path, steps="steps = 60")
    honest, last = trainer.learner.strategy.gradients, {}

    def gradients(step, batch, objective):
        if step % every == 0:
            last["result"] = honest(step, batch, objective)
            last["gradients"] = [parameter.grad.clone() for parameter in trainer.learner.parameters]
        for parameter, gradient in zip(trainer.learner.parameters, last["gradients"], strict=True):
            parameter.grad = gradient.clone()
        return last["result"]

    trainer.learner.strategy.gradients = gradients
    reused = trainer.run(Signals()).phases
    fresh = tiny.experiment(tmp_path, steps="steps = 60").train(tmp_path / "fresh").report.phases
    for name in ("forward", "backward"):
        assert reused[name].flops == pytest.approx(fresh[name].flops / every, rel=0.01)
    assert reused["optimizer"].flops == pytest.approx(fresh["optimizer"].flops, rel=0.01)


@pytest.mark.parametrize("every", [2, 3])
def test_weights_that_rest_are_charged_as_resting(tmp_path, every):
    """Steps of two kinds that take turns: samples of one say nothing of the other."""

    def flops(folder):
        trial = tiny.experiment(tmp_path, steps="steps = 90")
        trainer = Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / folder))
        slow, honest = (
            trainer.learner.parameters[: len(trainer.learner.parameters) // 2],
            trainer.learner.strategy.gradients,
        )

        def gradients(step, batch, objective):
            for parameter in slow:
                parameter.requires_grad_(step % every == 0)
            return honest(step, batch, objective)

        trainer.learner.strategy.gradients = gradients
        return trainer.run(Signals()).phases

    estimated = flops("sampled")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(meter, "sampled", lambda call: True)
        counted = flops("counted")
    for name in ("forward", "backward", "optimizer"):
        assert estimated[name].flops == pytest.approx(counted[name].flops, rel=0.01)


@torch.library.custom_op("resnetbktest::busy", mutates_args=())
def busy(x: torch.Tensor) -> torch.Tensor:
    for _ in range(500):
        x = x @ x
        x = x / x.norm()
    return x


def hook_busy(module, inputs, output) -> None:
    busy(torch.eye(64))


def test_an_operator_that_cannot_be_counted_is_one_warning(tmp_path, caplog):
    trainer = trainer_of(tmp_path, steps="steps = 12")
    trainer.learner.model.register_forward_hook(hook_busy)
    report = trainer.run(Signals())
    assert report.steps == 12
    assert "resnetbktest::busy" in report.uncounted
    (warning,) = caplog.messages
    assert "cannot count the FLOPs of resnetbktest::busy" in warning
    assert "training goes on" in warning


def test_where_flops_matter_it_ends_the_run_with_its_steps_saved(tmp_path):
    trainer = trainer_of(tmp_path, steps="steps = 500")
    trainer.strict_flops = True
    trainer.learner.model.register_forward_hook(hook_busy)
    with pytest.raises(UserError, match="resnetbktest::busy"):
        trainer.run(Signals())
    assert trainer.learner.step == 3
    assert checkpoint.load(checkpoint.latest(trainer.folder.path)).state["step"] == 3
