"""Which precision a training has, and who is told."""

import logging
import tomllib

import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.training import device as devices
from resnetbk.training.objective import autocast

CPU = torch.device("cpu")
AUTO = {"precision": "", "steps": "steps = 2"}


def units(monkeypatch, there: bool) -> None:
    features = {"avx512_bf16": there}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)


def environment(run):
    return tomllib.loads(run.folder.spec_lock.read_text())["environment"]


@pytest.mark.parametrize(("there", "auto"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_there_are_units_for_it(there, auto, monkeypatch):
    units(monkeypatch, there)
    assert devices.precision_on(CPU, "auto") == auto
    assert [devices.precision_on(CPU, asked) for asked in ("fp32", "bf16")] == ["fp32", "bf16"]
    with autocast(CPU, "auto"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == {"bf16": torch.bfloat16, "fp32": torch.float32}[auto]


@pytest.mark.parametrize(("capability", "there"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_cuda_has_units_from_compute_capability_8(capability, there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.has_bf16_units(torch.device("cuda")) is there


def test_a_torch_that_does_not_tell_counts_as_without_units(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not devices.has_bf16_units(CPU)


def test_the_default_trains_as_what_it_is_here_and_says_so(tmp_path, monkeypatch):
    units(monkeypatch, True)
    auto = tiny.experiment(tmp_path, **AUTO).train(tmp_path / "auto")
    asked = tiny.experiment(tmp_path, precision='precision = "bf16"', steps="steps = 2").train(tmp_path / "b")
    assert auto.report.precision == asked.report.precision == "bf16"
    assert auto.report.loss == asked.report.loss
    assert environment(auto)["precision"] == "bf16"
    assert "precision" not in environment(asked)  # its spec says it
    end = auto.folder.metrics()[-1]
    assert (end["event"], end["precision"]) == ("finished", "bf16")


def test_a_run_that_goes_on_in_another_precision_tells_it(tmp_path, monkeypatch, caplog):
    units(monkeypatch, True)
    trial = tiny.experiment(tmp_path, **AUTO)
    run = trial.train(tmp_path / "run")
    with caplog.at_level(logging.WARNING, "resnetbk"):
        trial.train(tmp_path / "run", resume=True)
        assert not caplog.messages
        units(monkeypatch, False)
        again = trial.train(tmp_path / "run", resume=True)
    assert again.report.precision == "fp32"
    assert caplog.messages == [
        f"{run.folder.path}: resumes with other than it began with: precision bf16 -> fp32"
    ]


def test_a_lock_holds_to_the_precision(tmp_path, monkeypatch):
    trial = tiny.experiment(tmp_path, **AUTO)
    locked = tmp_path / "tiny.lock.toml"
    units(monkeypatch, True)
    locked.write_text(trial.lock())
    trial.hold_to(locked)
    units(monkeypatch, False)
    with pytest.raises(UserError) as caught:
        trial.hold_to(locked)
    said = 'precision: locked bf16, now fp32; say train.precision = "bf16", or lock again'
    assert str(caught.value) == f"{locked}: {said}"


@pytest.mark.parametrize(
    ("there", "speed", "told"), [(False, 0.05, True), (False, 1.5, False), (True, 0.05, False)]
)
def test_bf16_asked_for_where_it_is_slow_is_one_warning(tmp_path, monkeypatch, caplog, there, speed, told):
    units(monkeypatch, there)
    monkeypatch.setattr("resnetbk.training.device.bf16_speed", lambda device: speed)
    with caplog.at_level(logging.WARNING, "resnetbk"):
        tiny.experiment(tmp_path, precision='precision = "bf16"', steps="steps = 1").train(tmp_path / "run")
    assert len(caplog.messages) == told
    assert all("0.05 times the speed of fp32" in message for message in caplog.messages)


def test_the_speed_is_measured_once():
    devices.bf16_speed.cache_clear()
    speed = devices.bf16_speed(CPU)
    assert 0 < speed < 100
    assert devices.bf16_speed(CPU) == speed
    assert devices.bf16_speed.cache_info().misses == 1
