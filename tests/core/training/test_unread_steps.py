"""Steps that are read together: on a CPU they give, to the bit, what steps give that are read one by one."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resnetbk.errors import NumericError
from resnetbk.hooks import hookimpl
from resnetbk.metering import meter
from resnetbk.runs import checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training import objective as objective_module
from resnetbk.training import trainer as trainer_module
from resnetbk.training.signals import Interrupted, Signals
from resnetbk.training.trainer import Trainer
from resnetbk_plugins.sequence_mixer import attention_module, gated_linear_module

TIMED = ("seconds", "cpu_seconds", "peak_memory", "phases", "flops", "crc32")
"""Of a record: also FLOPs, since what decides on the device or is in vain is executed."""
RANDOM = {"channel": 'gate = "gumbel"', "optimizer": 'optimizer = "adamw"'}
BUFFERED = {"channel": 'gate = { use = "top-rate", keep = 0.5 }'}
SPARSE = {"embedding": tiny.HASHED}


def trainer_of(folder: Path, name: str, more: str, watchers: Any = (), **changes: str) -> Trainer:
    """Of the run `name` in a folder, which may have begun."""
    trial = tiny.experiment(folder, **{"steps": "steps = 14", **changes, "more": more})
    (folder / name).mkdir(exist_ok=True)
    return Trainer(trial.spec, trial.registry, RunFolder(folder / name), watchers=watchers)


def spoil(trainer: Trainer, *steps: int) -> None:
    """Gradients of these steps, from 0, are not numbers, as often as they are tried."""
    honest = trainer.learner.strategy.gradients

    def gradients(step, batch, objective):
        result = honest(step, batch, objective)
        if step in steps:
            for parameter in trainer.learner.parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(math.nan)
        return result

    trainer.learner.strategy.gradients = gradients


def everything(trainer: Trainer) -> tuple[Any, Any]:
    """Weights, buffers and optimizer; and the records, without times."""
    tensors = [trainer.learner.model.state_dict(), trainer.learner.optimizer.state_dict()]
    lines = trainer.folder.metrics()
    return tensors, [{k: v for k, v in line.items() if k not in TIMED} for line in lines]


def assert_same(one: Trainer, other: Trainer) -> None:
    (tensors, lines), (other_tensors, other_lines) = everything(one), everything(other)
    torch.testing.assert_close(other_tensors, tensors, rtol=0, atol=0)
    assert str(other_lines) == str(lines)  # in which nan is as nan


@pytest.mark.parametrize(
    "changes", [{}, RANDOM, BUFFERED, SPARSE], ids=["muon", "random", "buffer", "sparse"]
)
def test_together_or_one_by_one_is_the_same_to_the_bit(tmp_path: Path, changes: dict[str, str]) -> None:
    more = "\nsave = 5\nevaluate = 7"
    one = trainer_of(tmp_path, "one", f"log_every = 1{more}", **changes)
    one_report = one.run(Signals())
    four = trainer_of(tmp_path, "four", f"log_every = 4{more}", **changes)
    assert (one.learner.every, four.learner.every) == (1, 4)
    assert four.run(Signals()).loss == one_report.loss
    assert_same(one, four)
    assert checkpoint.available(one.folder.path)[-1].name == checkpoint.available(four.folder.path)[-1].name


def test_reports_come_when_there_is_something_to_decide_and_else_the_last_step_keeps_the_device_busy(
    tmp_path: Path,
) -> None:
    seen: list[str] = []

    class Watcher:
        @hookimpl
        def resnetbk_step(self, report) -> None:
            seen.append(f"{report.step}@{trainer.learner.step}")

        @hookimpl
        def resnetbk_evaluated(self, report) -> None:
            seen.append("evaluated")

    trainer = trainer_of(
        tmp_path, "run", "log_every = 4\nevaluate = 6\nsave = 9", [Watcher()], steps="steps = 11"
    )
    trainer.run(Signals())
    assert " ".join(seen) == ("1@4 2@4 3@4 4@6 5@6 6@6 evaluated 7@9 8@9 9@9 10@11 11@11 evaluated")


@pytest.mark.parametrize("changes", [{}, RANDOM, BUFFERED], ids=["muon", "random", "buffered"])
@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_bad_steps_are_passed_over_as_one_by_one(
    tmp_path: Path, policy: str, changes: dict[str, str]
) -> None:
    """Also the first, the last of a reading, neighbours, and the last of all."""
    runs = []
    for every in (1, 4):
        more = f'log_every = {every}\nnonfinite = "{policy}"\nsave = 6'
        trainer = trainer_of(tmp_path, str(every), more, **changes)
        spoil(trainer, 0, 2, 6, 7, 13)
        trainer.run(Signals())
        runs.append(trainer)
    assert_same(*runs)
    steps = [line for line in runs[1].folder.metrics() if line["event"] == "step"]
    assert [line["step"] for line in steps if line["rate"] == 0] == [1, 3, 7, 8, 14]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_bad_step_stops_with_the_weights_before_it(tmp_path: Path, optimizer: str) -> None:
    runs = []
    for every in (1, 5):
        trainer = trainer_of(
            tmp_path, str(every), f"log_every = {every}", optimizer=f'optimizer = "{optimizer}"'
        )
        spoil(trainer, 6)
        with pytest.raises(NumericError, match=r"step 7: the gradient's norm is nan; the weights before"):
            trainer.run(Signals())
        runs.append(trainer)
    assert_same(*runs)
    for trainer in runs:
        saved = checkpoint.load(checkpoint.latest(trainer.folder.path))
        assert saved.state["step"] == 6
        assert saved.state["tokens"] == 6 * 4 * 16
        torch.testing.assert_close(saved.model, runs[0].learner.model.state_dict(), rtol=0, atol=0)
    assert [line["step"] for line in runs[1].folder.metrics()] == [1, 2, 3, 4, 5, 6]


def test_it_gives_up_when_every_step_is_bad(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trainer_module, "SKIPS_IN_A_ROW", 5)
    trainer = trainer_of(tmp_path, "run", 'log_every = 4\nnonfinite = "skip"')
    spoil(trainer, *range(14))
    with pytest.raises(NumericError, match="step 6: "):
        trainer.run(Signals())


def test_a_signal_between_readings_ends_the_run_with_all_that_was_done(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "run", "log_every = 10")
    signals = Signals()
    honest = trainer.learner.selector.select

    def select(context):
        signals.received = signal.SIGTERM * (context.step == 4)
        return honest(context)

    trainer.learner.selector.select = select
    with pytest.raises(Interrupted, match="after step 5"):
        trainer.run(signals)
    assert [line["step"] for line in trainer.folder.metrics()] == [1, 2, 3, 4, 5]
    again = trainer_of(tmp_path, "run", "log_every = 10")
    again.resume()
    again.run(Signals())
    whole = trainer_of(tmp_path, "whole", "log_every = 10")
    whole.run(Signals())
    assert_same(whole, again)


def test_a_signal_ends_an_evaluation_with_which_the_run_goes_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(objective_module, "TOKENS_PER_PASS", 64)
    signals = Signals()
    passes = 0
    honest = objective_module.objective

    def objective(model, batch, precision):
        nonlocal passes
        if not model.training:
            passes += 1
            signals.received = signal.SIGINT * (passes == 3)
        return honest(model, batch, precision)

    trainer = trainer_of(tmp_path, "run", "evaluate = 6")
    with monkeypatch.context() as patched:
        patched.setattr(objective_module, "objective", objective)
        with pytest.raises(Interrupted, match="interrupted in an evaluation") as caught:
            trainer.run(signals)
    assert caught.value.exit_code == 128 + signal.SIGINT
    assert passes == 3 < len(trainer.learner.data.valid) // 64
    saved = checkpoint.load(checkpoint.latest(trainer.folder.path)).state
    assert (saved["step"], saved["evaluation_due"]) == (6, True)
    again = trainer_of(tmp_path, "run", "evaluate = 6")
    again.resume()
    again.run(Signals())
    events = [(line["event"], line["step"]) for line in again.folder.metrics() if line["event"] != "step"]
    assert events == [("evaluation", 6), ("evaluation", 12), ("evaluation", 14), ("finished", 14)]
    whole = trainer_of(tmp_path, "whole", "evaluate = 6")
    whole.run(Signals())
    assert_same(whole, again)


@pytest.mark.parametrize(
    "changes",
    [
        {"selector": 'selector = "active"'},
        {"selector": 'selector = "excess-loss"'},
        {"more": 'log_every = 4\ngradient = "cached"'},
    ],
)
def test_what_depends_on_the_step_before_is_read_at_once(tmp_path: Path, changes: dict[str, str]) -> None:
    trainer = trainer_of(tmp_path, "run", **{"more": "log_every = 4", **changes})
    assert trainer.learner.every == 1
    assert trainer.run(Signals()).steps == 14


def test_a_budget_in_seconds_ends_within_an_interval(tmp_path: Path) -> None:
    report = trainer_of(tmp_path, "run", "log_every = 5", steps="seconds = 0.3").run(Signals())
    assert report.stopped == "seconds"
    assert report.seconds >= 0.3


# ---------------------------------------------------------------- what a step asks of the device


class NoWaiting(TorchDispatchMode):
    """Raises for what would wait for a device: a number read, or a tensor moved to the CPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero"):
            raise AssertionError(f"{name} waits for the device")
        if name == "aten::_to_copy" and (kwargs or {}).get("device") is not None:
            raise AssertionError("a tensor is moved between devices")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "mixer", ['"attention"', '{ use = "bk-causal", chains = 8 }', '"bk-moebius"', '"gated-linear"']
)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_no_step_waits_for_the_device(tmp_path: Path, monkeypatch, optimizer: str, mixer: str) -> None:
    monkeypatch.setattr(meter, "sampled", lambda call: False)  # counting has a mode of its own
    monkeypatch.setattr(meter, "WATCH", 0)
    for module in (attention_module, gated_linear_module):  # which waits on a CPU alone
        monkeypatch.setattr(module, "mixed_causally", lambda mix, x: mix(x), raising=False)
    trainer = trainer_of(
        tmp_path, "run", "log_every = 5\nclip = 0.01",
        optimizer=f'optimizer = {{ use = "{optimizer}", weight_decay = 0.1 }}', mixer=f"mixer = {mixer}",
    )  # fmt: skip
    learner = trainer.learner
    with NoWaiting():
        for _ in range(5):
            learner.learn()
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoWaiting():
        float(learner.unread[0].numbers[0])
    reports, bad = learner.read()
    assert bad is None
    assert [report.step for report in reports] == [1, 2, 3, 4, 5]
    assert reports[-1].gradient_norm > 0.01
