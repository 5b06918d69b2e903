"""Layers whose rows vary, compiled one by one: few sizes, the same numbers, counts of what is computed."""

from __future__ import annotations

import logging

import pytest
import synthetic as s
import tiny
import torch
from compiling import failing, use
from torch import nn

from resnetbk.kinds import Batch, Keep
from resnetbk.metering.flops import FlopCounter
from resnetbk.model.rows import Packing
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.compiled import CompiledObjective
from resnetbk.training.objective import objective
from resnetbk.training.signals import Signals
from resnetbk.training.trainer import Trainer

CPU = torch.device("cpu")
WINDOWS, LENGTH = 4, 32

# dynamo looks at the gradient of what goes into a layer
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture
def shapes(monkeypatch):
    """Those of rows that graphs are compiled for, by a quick backend: what was traced runs as it is."""
    torch._dynamo.reset()
    shapes: list[tuple[int, ...]] = []

    def backend(graph, inputs):
        shapes.append(rows_of(graph))
        return graph.forward

    use(monkeypatch, backend)
    return shapes


def rows_of(graph) -> tuple[int, ...]:
    """(R, D) or (B, W, D): the shape of the graph's result."""
    (output,) = graph.graph.find_nodes(op="output")
    return tuple(output.args[0][0].meta["example_value"].shape)


class Decay(nn.Module):
    """A causal mixer of one product and one sum."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(s.WIDTH, s.WIDTH)

    def forward(self, x, position, length):
        return self.output(x + 0.1 * position[..., None]).cumsum(1) / LENGTH


class Channel(nn.Module):
    def __init__(self, penalties: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.output = nn.Linear(s.WIDTH, s.WIDTH)
        self.penalties = penalties

    def forward(self, x):
        return self.output(x).tanh(), self.penalties


class Share:
    """A gate that keeps a share of the rows: another at each call."""

    scope = "layer"

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def keep(self, layer, rows):
        share = torch.rand((), generator=self.generator)
        return Keep(torch.rand(rows.position.shape, generator=self.generator) < share)

    def fill(self, layer, before, after, keep):
        return after


def model(wiring: str = "sequential", scope: str = "layer", penalties=None):
    built = s.build(gate=Share(), wiring=wiring, depth=2)
    built.trunk.gate.scope = scope
    for layer in built.trunk.layers:
        layer.mixer, layer.channel = Decay().double(), Channel(penalties or {}).double()
    return built


def batch() -> Batch:
    shape = WINDOWS, LENGTH + 1
    tokens = torch.randint(s.VOCABULARY, shape, generator=torch.Generator().manual_seed(0))
    return Batch(tokens[:, :-1], tokens[:, 1:])


def gradients(built, function) -> tuple[dict[str, torch.Tensor], tuple[float, ...]]:
    result, output = function(built, batch(), "fp32")
    result.loss.backward()
    taken = {name: p.grad for name, p in built.named_parameters() if p.grad is not None}
    built.zero_grad()
    return {"loss": result.loss.detach(), **taken}, output.rows


@pytest.mark.parametrize(
    ("wiring", "scope", "steps"),
    [("sequential", "layer", 40), ("resnet-bk", "layer", 3), ("sequential", "mixer", 3)],
)
def test_layers_are_compiled_for_few_sizes_and_the_numbers_are_the_same(shapes, caplog, wiring, scope, steps):
    plain, built = model(wiring, scope), model(wiring, scope)
    built.load_state_dict(plain.state_dict())
    compiled = CompiledObjective(True, built, CPU)
    kept = set()
    with caplog.at_level(logging.INFO, "resnetbk"):
        for _ in range(steps):
            (expected, computed), (same, padded) = gradients(plain, objective), gradients(built, compiled)
            torch.testing.assert_close(same, expected)
            kept.update(computed)
            for least, most in zip(computed, padded, strict=True):
                assert least <= most <= max(1.25 * least, WINDOWS * LENGTH / 8)
    assert len(kept) > steps  # of 128 numbers of rows
    assert len(shapes) == len(set(shapes)) <= 2 * 13  # layers share them
    assert {len(shape) for shape in shapes} == {2, 3}
    assert any(len(shape) == 3 and shape[1] < LENGTH for shape in shapes)
    (line,) = [message for message in caplog.messages if "since" in message]
    assert line.startswith("train.compile: layer by layer, since this model cannot be compiled as a whole: ")


def test_what_is_counted_are_the_rows_that_compiled_steps_compute(shapes):
    built = model()
    compiled = CompiledObjective(True, built, CPU)
    state = built.trunk.gate.generator.get_state()
    for _ in range(2):  # before and after it is known that rows vary
        built.trunk.gate.generator.set_state(state)
        with FlopCounter() as counter:
            _, counted = gradients(built, compiled)
        before = len(shapes)
        built.trunk.gate.generator.set_state(state)
        _, rows = gradients(built, compiled)
        assert counted == rows
        assert counter.flops >= 2 * 3 * s.WIDTH**2 * sum(rows)
    assert before == len(shapes) > 0  # nothing is compiled to be counted


def test_evaluations_compute_no_spare_rows_and_are_not_compiled(shapes):
    built = model()
    compiled = CompiledObjective(True, built, CPU)
    gradients(built, compiled)
    graphs = len(shapes)
    built.eval()
    state = built.trunk.gate.generator.get_state()
    with torch.no_grad():
        _, output = objective(built, batch(), "fp32")
    built.trunk.gate.generator.set_state(state)
    kept = [int(built.trunk.gate.keep(0, layer).mask.sum()) for layer in output.layers]
    assert list(output.rows) == kept
    assert len(shapes) == graphs


@pytest.mark.parametrize("good", [0, 3])
def test_a_compiler_that_fails_in_a_layer_is_one_warning(monkeypatch, caplog, good):
    torch._dynamo.reset()
    calls = []
    use(monkeypatch, failing(good, calls))
    plain, built = model(), model()
    compiled = CompiledObjective(True, built, CPU)
    with caplog.at_level(logging.WARNING, "resnetbk"):
        for _ in range(6):
            (expected, computed), (same, rows) = gradients(plain, objective), gradients(built, compiled)
            torch.testing.assert_close(same, expected)
    assert len(calls) == good + 1
    assert rows == computed  # no spare ones any more
    (warning,) = caplog.messages
    assert warning.startswith("train.compile: uncompiled, since the compiler fails: ")


def test_spare_rows_are_no_part_of_penalties(shapes, caplog):
    built = model(penalties={"balance": torch.tensor(0.5)})
    compiled = CompiledObjective(True, built, CPU)
    for _ in range(2):
        gradients(built, compiled)
    assert not built.trunk.few_sizes
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warning == "train.compile: uncompiled, since its channel mixers have penalties"


def test_runs_that_skip_are_the_same_compiled_or_not(tmp_path, shapes, caplog):
    def losses(name: str, compile_: str) -> list[float]:
        (tmp_path / name).mkdir()
        policies = """
            halting = { use = "act", bias = -0.5 }
            gate = { use = "top-rate", keep = 0.5, layers = [1] }
            recompute = true
        """
        trial = tiny.experiment(tmp_path / name, channel=policies, more=f"compile = {compile_}")
        trainer = Trainer(trial.spec, trial.registry, RunFolder.create(tmp_path / name / "run"))
        trainer.run(Signals())
        return [line["loss"] for line in trainer.folder.metrics() if line["event"] == "step"]

    expected = losses("plain", "false")
    assert losses("compiled", "true") == pytest.approx(expected, rel=1e-4)
    assert shapes
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 60, 100, 127])
def test_few_sizes_recur(count):
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask.view(-1)[torch.randperm(128, generator=torch.Generator().manual_seed(0))[:count]] = True
    packing = Packing(mask, few_sizes=True)
    assert packing.rows == count
    sizes = {16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128}
    assert count + packing.spare == min(size for size in sizes if size >= count)
    assert packing.width in {8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64}
