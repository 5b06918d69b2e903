"""The meter: every second and operation is charged once, to the right phase, also across an interruption."""

from __future__ import annotations

import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.kinds import Windows
from resnetbk.training import checkpoint, meter
from resnetbk.training.meter import PHASES, STEP_PHASES, Meter, sampled
from resnetbk.training.run_folder import RunFolder
from resnetbk.training.signals import Signals
from resnetbk.training.trainer import Trainer

X = torch.ones(100)


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """Time that passes when told to; CPU time passes twice as fast."""
    made = SimpleNamespace(now=50.0)
    made.perf_counter = lambda: made.now
    made.process_time = lambda: 2 * made.now
    monkeypatch.setattr(meter, "time", made)
    return made


@pytest.fixture
def samples(monkeypatch) -> set[int]:
    """The calls that are samples."""
    chosen: set[int] = set()
    monkeypatch.setattr(meter, "sampled", lambda call: call in chosen)
    return chosen


# ---------------------------------------------------------------- which calls are counted


def test_the_first_calls_are_samples_then_few_are():
    assert sampled(0)
    assert sampled(1)
    assert 8 <= sum(map(sampled, range(400))) <= 16
    assert 0.8 / 256 <= sum(map(sampled, range(10_000, 60_000))) / 50_000 <= 1.2 / 256
    gaps = np.diff([call for call in range(20_000) if sampled(call)])
    assert gaps.max() < 1000


@pytest.mark.parametrize("period", [2, 3, 5, 8, 10, 13, 50, 100])
def test_samples_are_in_step_with_no_period(period):
    met = np.bincount([call % period for call in range(200_000) if sampled(call)], minlength=period)
    assert met.min() > 0.5 * met.mean()


# ---------------------------------------------------------------- time


def test_a_phase_within_a_phase_keeps_its_time(clock, samples):
    made = Meter()
    clock.now += 1000
    with made.phase("backward"):
        clock.now += 1
        with made.phase("forward", tokens=8):
            clock.now += 10
        clock.now += 2
        with made.phase("forward", tokens=8):
            clock.now += 20
    clock.now += 1000
    with made.phase("evaluation"):
        clock.now += 100
    assert made.costs["backward"].seconds == 3
    assert made.costs["forward"].seconds == 30
    assert made.costs["forward"].cpu_seconds == 60
    assert made.costs["forward"].calls == 2
    assert made.costs["forward"].tokens == 16
    assert made.seconds == 33
    assert made.cpu_seconds == 66
    assert made.phases()["evaluation"].seconds == 100


def test_what_fails_costs_what_it_took(clock, samples):
    made = Meter()

    def fail() -> None:
        with made.phase("backward"), made.phase("forward", tokens=8):
            clock.now += 5
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with made.phase("optimizer"):
        clock.now += 1
    assert (made.costs["forward"].seconds, made.costs["optimizer"].seconds) == (5, 1)


# ---------------------------------------------------------------- operations


def work(made: Meter, phase: str, times: int, tokens: int = 0, activity: str = "") -> None:
    with made.phase(phase, activity, tokens):
        for _ in range(times):
            X + X


def test_between_samples_an_activity_costs_what_it_cost_last(samples):
    samples |= {0, 3}
    made = Meter()
    work(made, "forward", 1, tokens=10)
    work(made, "forward", 7, tokens=20)  # not looked at: as much for each token as before
    work(made, "forward", 7, tokens=5)
    assert made.costs["forward"].flops == 100 + 200 + 50
    work(made, "forward", 3, tokens=10)
    work(made, "forward", 1, tokens=10)
    assert made.costs["forward"].flops == 350 + 300 + 300


def test_a_phase_within_a_phase_keeps_its_operations(samples):
    samples |= {0}
    made = Meter()
    for _ in range(3):
        with made.phase("backward"):
            X + X
            work(made, "forward", 10, tokens=4)
            X + X
            made.worked("backward", 4)
    assert made.costs["forward"].flops == 3 * 1000
    assert made.costs["backward"].flops == 3 * 200
    assert made.flops == 3600


def test_activities_of_one_phase_are_told_apart(samples):
    samples |= {0}
    made = Meter()
    for _ in range(2):
        work(made, "scoring", 1, activity="choice")
        work(made, "scoring", 5, activity="score", tokens=10)
    assert made.costs["scoring"].flops == 2 * 600


def test_what_was_never_met_is_counted_when_it_comes_again(samples):
    samples |= {0}
    made = Meter()
    for _ in range(20):  # by turns with and without tokens, as when gradients are used twice
        work(made, "backward", 1, tokens=10)
        work(made, "backward", 2)
    assert made.costs["backward"].flops == 20 * 100 + 19 * 200


def test_setup_is_always_counted_and_evaluation_is_not_charged(samples):
    made = Meter()
    with made.phase("setup", always=True):
        X + X
    samples.add(0)
    work(made, "evaluation", 5, tokens=10)
    assert made.flops == 100
    assert made.phases()["evaluation"].flops == 500


def test_costs_add_up_across_an_interruption(clock, samples):
    samples |= {0}

    def until(made: Meter, calls: int) -> None:
        with made.phase("setup", always=True):
            clock.now += 1
        for _ in range(calls):
            with made.phase("forward", tokens=10):
                clock.now += 2
                X + X

    whole, first, second = Meter(), Meter(), Meter()
    until(whole, 5)
    until(first, 3)
    with second.phase("setup", always=True):
        clock.now += 100  # building it anew is the interruption's cost
    saved = first.state()
    second.restore(checkpoint.state.join(*checkpoint.state.split(saved)))
    for _ in range(2):
        with second.phase("forward", tokens=10):
            clock.now += 2
    assert second.costs == whole.costs
    assert second.state()["peak_memory"] >= saved["peak_memory"]


def test_memory_is_the_peak_since_the_meter_was_made():
    big = torch.ones(2**25)
    made = Meter()
    with_it = made.peak_memory
    assert with_it > big.numel() * 4
    more = torch.ones(2**25)
    assert made.peak_memory > with_it + 0.8 * more.numel() * 4
    peak = made.peak_memory
    del big, more
    assert made.peak_memory >= peak
    if meter.forget_peak():
        assert Meter().peak_memory < peak - 2**27


# ---------------------------------------------------------------- in a run


def trainer_of(tmp_path, **changes: str) -> Trainer:
    trial = tiny.experiment(tmp_path, **changes)
    return Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / "run"))


def test_a_run_says_what_each_phase_cost(tmp_path):
    trainer = trainer_of(tmp_path, more="evaluate = 4")
    report = trainer.run(Signals())
    assert tuple(report.phases) == PHASES
    calls = {name: cost.calls for name, cost in report.phases.items()}
    passes = -(-trainer.data.valid.size // 8192)
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
        folder = tmp_path / f"stopped-{stop}"
        shutil.copytree(whole.folder.path, folder)
        for path in checkpoint.available(folder):
            if path.name > checkpoint.name(stop):
                shutil.rmtree(path)
        (folder / "LATEST").write_text(checkpoint.name(stop) + "\n")
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
    honest = trainer.strategy.gradients

    def gradients(step, batch, objective):
        result = honest(step, batch, objective)
        if step in (2, 5):
            trainer.parameters[0].grad.fill_(math.nan)
        return result

    trainer.strategy.gradients = gradients
    report = trainer.run(Signals())
    for name in ("forward", "backward"):
        assert report.phases[name].calls == good.phases[name].calls
        assert report.phases[name].flops == pytest.approx(good.phases[name].flops, rel=0.001)
    assert report.phases["optimizer"].calls == good.phases["optimizer"].calls - 2


def test_scored_windows_cost(tmp_path):
    """A selector that scores 12 windows, every fifth step."""
    trainer = trainer_of(tmp_path, steps="steps = 40")
    honest = trainer.selector.select

    def select(turn):
        if turn.step % 5 == 3:
            assert turn.score(Windows(np.arange(12), 16)).shape == (12,)
        return honest(turn)

    trainer.selector.select = select
    report = trainer.run(Signals())
    scored, trained = report.phases["scoring"], report.phases["forward"]
    assert trainer.meter.costs["scoring"].tokens == 8 * 12 * 16
    assert scored.flops == pytest.approx(trained.flops * (8 * 12) / (40 * 4), rel=0.01)
    assert report.flops == pytest.approx(sum(report.phases[n].flops for n in ("setup", *STEP_PHASES)))


@pytest.mark.parametrize("every", [2, 3])
def test_gradients_used_again_cost_nothing_again(tmp_path, every):
    trainer = trainer_of(tmp_path, steps="steps = 60")
    honest, last = trainer.strategy.gradients, {}

    def gradients(step, batch, objective):
        if step % every == 0:
            last["result"] = honest(step, batch, objective)
            last["gradients"] = [parameter.grad.clone() for parameter in trainer.parameters]
        for parameter, gradient in zip(trainer.parameters, last["gradients"], strict=True):
            parameter.grad = gradient.clone()
        return last["result"]

    trainer.strategy.gradients = gradients
    reused = trainer.run(Signals()).phases
    fresh = tiny.experiment(tmp_path, steps="steps = 60").train(tmp_path / "fresh").report.phases
    for name in ("forward", "backward"):
        assert reused[name].flops == pytest.approx(fresh[name].flops / every, rel=0.01)
    assert reused["optimizer"].flops == pytest.approx(fresh["optimizer"].flops, rel=0.01)


@torch.library.custom_op("resnetbktest::busy", mutates_args=())
def busy(x: torch.Tensor) -> torch.Tensor:
    for _ in range(500):
        x = x @ x
        x = x / x.norm()
    return x


def test_a_run_that_cannot_be_counted_is_stopped_with_its_steps_saved(tmp_path):
    trainer = trainer_of(tmp_path, steps="steps = 500")

    def hook(module, inputs, output) -> None:
        busy(torch.eye(64))

    trainer.model.register_forward_hook(hook)
    with pytest.raises(UserError, match="resnetbktest::busy"):
        trainer.run(Signals())
    assert trainer.step == 3
    assert checkpoint.load(trainer.folder.latest()).state["step"] == 3
