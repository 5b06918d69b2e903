"""The meter: every second and operation is charged once, to the right phase, also across an interruption."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from resnetbk.metering import meter
from resnetbk.metering.meter import Meter, sampled
from resnetbk.runs import checkpoint

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


# ---------------------------------------------------------------- FLOPs


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


class Event:
    """One of a device that has done what it was given only when somebody waits."""

    waited = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = meter.time.perf_counter()

    def synchronize(self) -> None:
        Event.waited += 1

    def elapsed_time(self, other: Event) -> float:
        assert Event.waited
        return 1000.0 * (other.at - self.at)


def test_on_cuda_the_device_keeps_the_time_and_is_waited_for_only_to_settle(clock, samples, monkeypatch):
    for name in ("reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Event, "waited", 0)
    made, here = Meter(torch.device("cuda")), Meter()
    moments = []
    for _ in range(2):
        for each in (made, here):
            with each.phase("backward"):
                clock.now += 1
                with each.phase("forward", tokens=8):
                    clock.now += 10
                clock.now += 2
            clock.now += 100
        moments.append((made.moment(), here.moment()))
    assert Event.waited == made.seconds == 0
    assert [moment for moment, _ in moments] == [[], []]
    made.settle(moments[0][0])
    assert ([moment for moment, _ in moments], made.seconds) == ([[13], []], 13)
    made.settle()
    assert [moment for moment, _ in moments] == [moment for _, moment in moments] == [[13], [26]]
    assert made.seconds == here.seconds == 26
    assert made.costs == here.costs
    waited = Event.waited
    assert made.phases() == here.phases()
    assert Event.waited == waited  # all is known
    with made.phase("evaluation"):
        clock.now += 5
    assert made.phases()["evaluation"].seconds == 5
    assert made.state()["costs"]["evaluation"]["seconds"] == 5
