import gc
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from rich.console import Console

from resnetbk.hooks import EvaluationReport, RunReport, StepReport
from resnetbk.terminal import duration
from resnetbk.training.observers import manager
from resnetbk_plugins.observer.progress import EVERY, Progress, ProgressBar, ProgressLines, short

SPEC = SimpleNamespace(name="my [bold] run")
EVALUATION = EvaluationReport(300, 1.8664, 2.6925, 1000, 0.5, True, (1.0,), (0.0, 1.0))
RUN = RunReport(Path("runs/x"), 1.75, 2.525, 800_000, 600, 1_228_800, 75.0, "steps", {}, 6e12, 140.0, 2**28)


def step(number: int, steps: int | None = 600, rows: tuple[float, ...] = (1.0, 1.0)) -> StepReport:
    """One that ran at 2000 tokens and 10 steps a second."""
    return StepReport(
        number,
        steps,
        number / 600,
        2.34567,
        {},
        0.02,
        1.0,
        200 * number,
        number / 10,
        rows,
        1e9 * number,
    )


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """Counts writes."""

    writes = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def bar(clock: Clock) -> tuple[ProgressBar, Terminal]:
    terminal = Terminal()
    return ProgressBar(SPEC.name, Console(file=terminal, force_terminal=True, width=120), clock), terminal


def test_without_a_terminal_lines_come_every_five_seconds_and_at_evaluations(clock: Clock) -> None:
    stream = io.StringIO()
    hook = manager([ProgressLines(stream, clock)]).hook
    hook.resnetbk_built(model=None, spec=SPEC)
    for number in range(1, 61):
        clock.now += 0.125
        hook.resnetbk_step(report=step(number))
    hook.resnetbk_evaluated(report=EVALUATION)
    clock.now += 5
    hook.resnetbk_step(report=step(61))
    hook.resnetbk_finished(run=RUN)
    built, first, second, evaluation, third, last = stream.getvalue().splitlines()
    assert built == "first step: warming up"
    assert first == "step 1/600  loss 2.3457  warming up"
    assert second.startswith("step 41/600  ")
    assert evaluation == "step 300  held-out loss 1.8664  2.6925 bits/byte  best"
    assert third == "step 61/600  loss 2.3457  held-out 2.692 bits/byte  2.0k tokens/s  0:00:54 left"
    assert last == ("all steps done  held-out loss 1.7500  2.5250 bits/byte  600 steps in 0:01:15")


@pytest.mark.parametrize("before", [0, 300])
def test_how_long_the_first_steps_take_foretells_nothing(clock: Clock, before: int) -> None:
    """Also in a run that is resumed: the first of this process takes a minute, each further one 0.1 s."""
    stream = io.StringIO()
    hook = manager([ProgressLines(stream, clock)]).hook
    for number in range(before + 1, before + 5):
        clock.now += EVERY
        hook.resnetbk_step(report=attrs.evolve(step(number), seconds=60 + number / 10))
    *warm, known = stream.getvalue().splitlines()
    assert [line.endswith("  warming up") for line in warm] == [True] * 3
    assert known.endswith(f"  2.0k tokens/s  {duration(60 - (before + 4) / 10)} left")


def test_a_run_without_a_number_of_steps_shows_none(clock: Clock) -> None:
    stream = io.StringIO()
    manager([ProgressLines(stream, clock)]).hook.resnetbk_step(report=step(5, None))
    assert stream.getvalue().startswith("step 5  loss")


def test_on_a_terminal_the_bar_shows_the_figures_and_evaluations_stand_above(clock: Clock) -> None:
    progress, terminal = bar(clock)
    hook = manager([progress]).hook
    hook.resnetbk_built(model=None, spec=SPEC)
    for number in range(297, 301):
        clock.now += 1
        hook.resnetbk_step(report=step(number))
    hook.resnetbk_evaluated(report=EVALUATION)
    clock.now += 1
    hook.resnetbk_step(report=step(301))
    hook.resnetbk_finished(run=RUN)
    shown = terminal.getvalue()
    assert shown.index("my [bold] run") < shown.index("first step: warming up") < shown.index("297/600")
    assert "300/600  loss 2.3457  2.0k tokens/s  0:00:30 left" in shown
    assert "301/600  loss 2.3457  held-out 2.692 bits/byte" in shown
    assert shown.index("held-out loss 1.8664") < shown.index("301/600")
    assert shown.rstrip().endswith("600 steps in 0:01:15")


def test_the_bar_is_drawn_at_most_ten_times_a_second_and_at_the_end(clock: Clock) -> None:
    progress, terminal = bar(clock)
    hook = manager([progress]).hook
    hook.resnetbk_built(model=None, spec=SPEC)
    hook.resnetbk_step(report=step(1))
    drawn = terminal.writes
    for number in range(2, 100):
        clock.now += 0.001
        hook.resnetbk_step(report=step(number))
    assert terminal.writes == drawn
    clock.now += 0.1
    hook.resnetbk_step(report=step(100))
    assert terminal.writes > drawn
    hook.resnetbk_step(report=step(600))
    assert "600/600" in terminal.getvalue()
    hook.resnetbk_finished(run=RUN)


def test_standard_output_is_left_alone_and_standard_error_comes_back(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, _ = bar(clock)
    before = sys.stderr
    hook = manager([progress]).hook
    hook.resnetbk_built(model=None, spec=SPEC)
    print("a result")
    hook.resnetbk_finished(run=RUN)
    assert sys.stderr is before
    assert capsys.readouterr().out == "a result\n"


def test_a_run_that_dies_gives_the_terminal_back(clock: Clock) -> None:
    progress, terminal = bar(clock)
    plugins = manager([progress])
    plugins.hook.resnetbk_built(model=None, spec=SPEC)
    assert terminal.getvalue().startswith("\x1b[?25l")  # the cursor is hidden
    del progress, plugins
    gc.collect()
    assert "\x1b[?25h" in terminal.getvalue()  # and shown again


def test_the_terminal_decides_which_of_the_two_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(Progress().build(folder=tmp_path, spec=SPEC), ProgressBar)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(Progress().build(folder=tmp_path, spec=SPEC), ProgressLines)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(Progress().build(folder=tmp_path, spec=SPEC), ProgressLines)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1234, "1.2k"), (2.5e6, "2.5M"), (1e9, "1.0G")]
)
def test_short_numbers(number: float, text: str) -> None:
    assert short(number) == text
