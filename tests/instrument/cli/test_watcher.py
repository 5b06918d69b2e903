"""What comparisons and searches say on the way, with a clock and a terminal that are made up."""

from __future__ import annotations

import io
import sys

import pytest

from resnetbk.hooks import StepReport
from resnetbk.training.observers import manager
from resnetbk_instrument.cli.watcher import EVERY, REFRESH, Watcher
from resnetbk_instrument.session.plan import WARMING, Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def train(watcher: Watcher, clock: Clock, steps: int, seconds: float) -> None:
    """Steps of so many seconds, as a run reports them."""
    hook = manager([watcher]).hook
    for number in range(1, steps + 1):
        clock.now += seconds
        hook.resnetbk_step(
            report=StepReport(number, steps, number / steps, 2.5, {}, 0.1, 1.0, 8, 0.5, (1.0,), 1e6)
        )


def test_a_long_training_is_a_line_every_15_seconds_and_a_short_one_none(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    watcher = Watcher(clock)
    watcher.watch(Progress(stage="round 1/5", variant="a", steps=40))
    train(watcher, clock, 40, EVERY / 10)
    watcher.watch(Progress(stage="round 1/5", variant="b", steps=9))
    train(watcher, clock, 9, EVERY / 10)
    assert sys.stderr.getvalue().splitlines() == [
        f"round 1/5    a  40 steps ... step {step}, loss 2.5000" for step in (10, 20, 30, 40)
    ]


def test_warming_up_is_said_at_once_and_no_end_is_foretold_while_nobody_knows_it(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    watcher = Watcher(clock)
    watcher.watch(Progress(stage=WARMING, variant="a", steps=3))
    watcher.watch(Progress(stage="round 1/5", variant="a", steps=40, left=60.0))
    train(watcher, clock, 1, EVERY)
    warming, step = sys.stderr.getvalue().splitlines()
    assert warming == "warming up a: its first steps"
    assert "(end: " in step


def test_on_a_terminal_it_is_drawn_in_place(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    watcher = Watcher(clock)
    watcher.begin("tiny: trial 1 of 2")
    train(watcher, clock, 4, REFRESH / 2)
    watcher.say("done")
    shown = sys.stderr.getvalue()
    assert shown.count("\n") == 1
    assert [f"step {number}," in shown for number in (1, 2, 3, 4)] == [False, True, False, True]
    assert shown.endswith("done\n")
