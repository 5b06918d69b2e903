"""Observers are called in order, and none can stop a run."""

from pathlib import Path
from types import ModuleType

import pytest
import tiny

from resnetbk.errors import UserError
from resnetbk.hooks import RunReport, StepReport, hookimpl
from resnetbk.training.observers import manager

STEP = StepReport(1, 10, 0.1, 2.0, {}, 0.1, 1.0, 8, 0.5, (1.0,), 1e6)


class Watcher:
    def __init__(self, heard: list[str], name: str) -> None:
        self.heard, self.name = heard, name

    @hookimpl
    def resnetbk_step(self, report: StepReport) -> None:
        self.heard.append(f"{self.name} {report.step}")

    def resnetbk_finished(self) -> None:
        raise AssertionError("is not marked")


class Broken:
    @hookimpl
    def resnetbk_step(self) -> None:
        raise ValueError("no\nluck")

    @hookimpl
    def resnetbk_check(self, spec: object) -> None:
        raise RuntimeError("nor here")


def test_observers_are_called_in_the_order_given_with_what_they_ask_for() -> None:
    heard: list[str] = []
    plugins = manager([Watcher(heard, "first"), Watcher(heard, "second")])
    plugins.hook.resnetbk_step(report=STEP)
    plugins.hook.resnetbk_finished(run=RunReport(Path("r"), 1.0, 1.0, 1, 1, 1, 1.0, "steps", {}, 1e6, 1.0, 1))
    assert heard == ["first 1", "second 1"]


def test_a_run_has_watchers_besides_the_observers_of_its_spec(tmp_path: Path) -> None:
    heard: list[str] = []
    trial = tiny.experiment(tmp_path, steps="steps = 2")
    trial.train(tmp_path / "run", watchers=[Watcher(heard, "mine")])
    assert heard == ["mine 1", "mine 2"]


def test_a_module_can_observe() -> None:
    heard: list[str] = []
    module = ModuleType("acme.hooks")

    @hookimpl
    def resnetbk_step(report: StepReport) -> None:
        heard.append("module")

    module.resnetbk_step = resnetbk_step  # type: ignore[attr-defined]
    manager([module]).hook.resnetbk_step(report=STEP)
    assert heard == ["module"]


def test_a_failing_observer_is_told_of_once_and_stops_neither_the_run_nor_the_others() -> None:
    heard: list[str] = []
    said: list[str] = []
    plugins = manager([Watcher(heard, "before"), Broken(), Watcher(heard, "after")], said.append)
    plugins.hook.resnetbk_step(report=STEP)
    plugins.hook.resnetbk_step(report=STEP)
    plugins.hook.resnetbk_check(spec=None)
    assert heard == ["before 1", "after 1"] * 2
    assert len(said) == 1
    assert said[0].endswith(".Broken failed in resnetbk_step (ValueError: no luck); the run goes on")


def test_complaints_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    manager([Broken()]).hook.resnetbk_step(report=STEP)
    assert "Broken failed in resnetbk_step" in capsys.readouterr().err


def test_keyboard_interrupt_passes() -> None:
    class Impatient:
        @hookimpl
        def resnetbk_step(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manager([Impatient()]).hook.resnetbk_step(report=STEP)


def test_an_observer_may_refuse_a_spec_before_the_run() -> None:
    class Picky:
        @hookimpl
        def resnetbk_check(self, spec: object) -> None:
            raise UserError("needs an evaluation")

    with pytest.raises(UserError, match="needs an evaluation"):
        manager([Picky()]).hook.resnetbk_check(spec=None)


def test_a_hook_that_does_not_exist_is_named_with_its_nearest() -> None:
    class Typo:
        @hookimpl
        def resnetbk_stepp(self) -> None: ...

    with pytest.raises(UserError, match=r"no hook 'resnetbk_stepp'; did you mean 'resnetbk_step'\?"):
        manager([Typo()])


def test_an_argument_that_a_hook_does_not_have_is_refused_in_one_line() -> None:
    class Greedy:
        @hookimpl
        def resnetbk_step(self, model: object) -> None: ...

    with pytest.raises(UserError, match="model") as caught:
        manager([Greedy()])
    assert "\n" not in str(caught.value)
