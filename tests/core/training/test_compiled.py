"""Compiled steps: the same numbers, names and counts; without a compiler that works, a line and no more."""

from __future__ import annotations

import logging
import subprocess
import sys

import attrs
import pytest
import synthetic as s
import tiny
import torch
from compiling import failing, use
from torch import nn

from resnetbk.kinds import Batch, Keep
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.compiled import CompiledObjective, to_compile
from resnetbk.training.objective import objective
from resnetbk.training.signals import Signals
from resnetbk.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture
def graphs(monkeypatch):
    """Graphs that are compiled, by a backend that is quick: what was traced runs as it is."""
    torch._dynamo.reset()
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    use(monkeypatch, backend)
    return compiled


def batch(windows: int = 3, length: int = 9) -> Batch:
    tokens = torch.randint(s.VOCABULARY, (windows, length + 1), generator=torch.Generator().manual_seed(0))
    return Batch(tokens[:, :-1], tokens[:, 1:])


class Product(nn.Module):
    """A mixer of one product, which knows nothing of other rows."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(s.WIDTH, s.WIDTH)

    def forward(self, x, position, length):
        return self.output(x)


def model(mixer: type[nn.Module] = Product, **policies):
    built = s.build(**policies)
    for layer in built.trunk.layers:
        layer.mixer, layer.channel.forward = mixer().double(), lambda x: (x.tanh(), {})
    return built


def trained(folder, compile_: str, **changes: str):
    folder.mkdir()
    trial = tiny.experiment(folder, more=f"compile = {compile_}", **{"steps": "steps = 14"} | changes)
    trainer = Trainer(trial.spec, trial.registry, RunFolder.create(folder / "run"))
    report = trainer.run(Signals())
    lines = trainer.folder.metrics()
    return trainer, report, [line["loss"] for line in lines if line["event"] == "step"]


def test_a_run_is_the_same_compiled_or_not(tmp_path, graphs, caplog):
    caplog.set_level(logging.WARNING, "resnetbk")
    plain, expected, losses = trained(tmp_path / "plain", "false")
    compiled, report, same = trained(tmp_path / "compiled", "true")
    assert len(graphs) == 1  # steps of one shape, and evaluations run uncompiled
    assert not caplog.records
    assert same == pytest.approx(losses, rel=1e-5)
    assert report.flops == expected.flops
    assert {name: cost.flops for name, cost in report.phases.items()} == {
        name: cost.flops for name, cost in expected.phases.items()
    }
    assert list(compiled.learner.model.state_dict()) == list(plain.learner.model.state_dict())


def test_models_of_one_form_share_what_was_compiled_and_shapes_do_not(graphs):
    for windows, expected in ((3, 1), (3, 1), (2, 2), (3, 2)):
        built = model()
        result, output = CompiledObjective(True, built, CPU)(built, batch(windows), "fp32")
        assert len(graphs) == expected
        plain, _ = objective(built, batch(windows), "fp32")
        torch.testing.assert_close(result.loss, plain.loss)
        assert output.rows == (9 * windows,) * len(built.trunk.layers)


def test_hooks_of_a_model_run_although_another_was_compiled_without(graphs):
    calls = []
    for hooked in (False, True):
        built = model()
        if hooked:
            built.trunk.register_forward_hook(lambda *_: calls.append("ran"))
        compiled = CompiledObjective(True, built, CPU)
        for _ in range(2):
            compiled(built, batch(), "fp32")
    assert calls == ["ran"] * 2


def test_with_auto_a_model_whose_rows_vary_runs_uncompiled_and_one_line_says_so(graphs, caplog):
    class Positive:
        scope = "layer"

        def keep(self, layer, rows):
            return Keep(rows.x[..., 0] > 0)

        def fill(self, layer, before, after, keep):
            return after

    caplog.set_level(logging.INFO, "resnetbk")
    built = model(gate=Positive())
    compiled = CompiledObjective("auto", built, CPU)
    for _ in range(2):
        result, output = compiled(built, batch(), "fp32")
        plain, expected = objective(built, batch(), "fp32")
        assert torch.equal(result.loss, plain.loss)
        assert output.rows == expected.rows != (27.0, 27.0)
    (line,) = [record for record in caplog.records if "uncompiled" in record.message]
    assert line.levelno == logging.INFO
    assert "this model cannot be compiled as a whole" in line.message
    assert not graphs


@pytest.mark.parametrize("good", [0, 1])
def test_a_compiler_that_fails_at_any_call_is_one_warning(monkeypatch, tmp_path, caplog, good):
    torch._dynamo.reset()
    calls = []
    use(monkeypatch, failing(good, calls))
    # windows of three lengths
    grow = {"selector": 'selector = { use = "grow", start = 4 }', "steps": "steps = 24"}
    _, _, losses = trained(tmp_path / "plain", "false", **grow)
    with caplog.at_level(logging.WARNING, "resnetbk"):
        _, _, same = trained(tmp_path / "compiled", "true", **grow)
    assert len(calls) == good + 1
    (warning,) = caplog.messages
    assert warning.startswith("train.compile: uncompiled, since the compiler fails: ")
    assert "no compiler here" in warning
    assert same == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError, KeyboardInterrupt])
def test_what_is_not_the_compilers_fault_is_not_taken_for_it(monkeypatch, kind, caplog):
    torch._dynamo.reset()

    def backend(graph, inputs):
        raise kind("at last")

    use(monkeypatch, backend)
    built = model()
    compiled = CompiledObjective(True, built, CPU)
    with pytest.raises((RuntimeError, kind), match="at last"):  # torch may wrap it
        compiled(built, batch(), "fp32")
    assert compiled.active
    assert "uncompiled" not in caplog.text


def test_an_error_of_the_model_itself_is_told_as_its_own(graphs, caplog):
    class Broken(Product):
        def forward(self, x, position, length):
            raise ValueError("odd weights")

    built = model(Broken)
    with pytest.raises(ValueError, match="odd weights"):
        CompiledObjective(True, built, CPU)(built, batch(), "fp32")
    assert "uncompiled" not in caplog.text


def test_gradients_that_the_next_replay_overwrites_are_copied():
    for asked, device, copied in (("auto", "cuda", True), ("auto", "cpu", False), (False, "cuda", False)):
        built = model()
        CompiledObjective(asked, built, torch.device(device))
        assert all(bool(parameter._backward_hooks) is copied for parameter in built.parameters())


@pytest.mark.parametrize(
    ("steps", "seconds", "long"),
    [(999, None, False), (1000, None, True), (None, 119, False), (None, 120, True), (1000, 119, False)],
)
def test_auto_compiles_in_long_runs_alone(tmp_path, steps, seconds, long):
    train = attrs.evolve(tiny.experiment(tmp_path).spec.train, steps=steps, seconds=seconds)
    assert to_compile(train, torch.device("cuda")) == ("auto" if long else False)
    assert to_compile(train, CPU) is False
    assert to_compile(attrs.evolve(train, compile=True), CPU) is True


def test_whoever_does_not_compile_does_not_import_the_compiler():
    code = "import sys, resnetbk.training.trainer as t; assert 'torch._dynamo' not in sys.modules, t"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
