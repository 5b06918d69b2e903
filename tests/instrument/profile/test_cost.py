"""What a spec will cost: read off the spec where that can be done, and the same as a run of it says."""

from __future__ import annotations

import json
import re

import pytest
import tiny
from click.testing import CliRunner

from resnetbk.cli import _run, cli
from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk_instrument.profile.cost import cost

D, V, N = 16, 256, 16


def spec_of(tmp_path, **changes: str):
    return read(tiny.write_spec(tmp_path, **changes), Registry.discover())


def test_parameters_and_operations_by_component(tmp_path):
    result = cost(
        spec_of(tmp_path, mixer='mixer = { use = "bk-causal", chains = 8, convolution = 0 }'), steps=1
    )
    chains, hidden, layers = 8, 4 * D, 2
    assert result.parameters == {
        "embedding": V * D,
        "head": V * D,
        "mixer": layers * (3 * D * chains + 2 * chains),
        "channel": layers * 2 * D * hidden,
        "norm": (2 * layers + 1) * D,
    }
    flops = result.forward_flops
    assert flops["head"] == 2 * D * V
    assert flops["channel"] == layers * (4 * D * hidden + 2 * hidden)
    assert flops["mixer"] == pytest.approx(layers * (6 * D * chains + 9 * chains), rel=0.02)
    assert sum(flops.values()) < result.training_flops / 3
    assert result.tokens == 4 * N
    assert result.measured == 1
    assert set(result.phases) == {"forward", "backward", "optimizer", "scoring"}
    assert sum(result.phases.values()) == pytest.approx(result.seconds)
    assert result.peak_memory > 2**20


def test_a_tied_head_is_counted_once(tmp_path):
    result = cost(spec_of(tmp_path, model="[model]\ntie = true"), steps=1)
    assert result.parameters["embedding"] == V * D
    assert "head" not in result.parameters
    assert result.forward_flops["head"] == 2 * D * V


def test_it_says_what_a_run_then_spends(tmp_path):
    trial = tiny.experiment(tmp_path, steps="steps = 30", more="evaluate = 10")
    expected = cost(trial.spec)
    report = trial.train(tmp_path / "run").report
    assert expected.total_flops == pytest.approx(report.flops, rel=0.01)
    assert expected.steps == 30
    assert expected.evaluations == 3
    assert sum(expected.parameters.values()) == report.parameters
    parts = expected.setup_seconds + 30 * expected.seconds + 3 * expected.evaluation_seconds
    assert expected.total_seconds == pytest.approx(parts)


@pytest.mark.parametrize(
    ("steps", "more", "evaluations"),
    [("steps = 8", "", 1), ("steps = 8", "evaluate = 4", 2), ("steps = 9", "evaluate = 4", 3)],
)
def test_evaluations_are_those_that_a_run_makes(tmp_path, steps, more, evaluations):
    trial = tiny.experiment(tmp_path, steps=steps, more=more)
    assert cost(trial.spec, steps=1).evaluations == evaluations
    lines = trial.train(tmp_path / "run").folder.metrics()
    assert sum(line["event"] == "evaluation" for line in lines) == evaluations


def test_a_budget_in_seconds_becomes_steps(tmp_path):
    result = cost(spec_of(tmp_path, steps="seconds = 50.0"), steps=3)
    assert result.steps == round(50 / result.seconds)
    assert cost(spec_of(tmp_path, steps="seconds = 1e6\nsteps = 7"), steps=1).steps == 7


@pytest.mark.parametrize(
    ("mixer", "first", "growth"),
    [
        # g of 8 chains and 3 rows before, in two layers; and the position
        ('{ use = "bk-causal", chains = 8 }', 2 * 4 * (2 * 8 + 3 * D) + 8, 0),
        # keys and values, and how many there are
        ('{ use = "attention", heads = 2 }', 2 * (4 * 2 * D + 8) + 8, 2 * 4 * 2 * D),
    ],
)
def test_the_state_of_a_stream_is_measured(tmp_path, mixer, first, growth):
    state = cost(spec_of(tmp_path, mixer=f"mixer = {mixer}"), steps=1).state
    assert (state.bytes, state.growth) == (first, growth)


PLUGIN = """
schema = 1
[sequence-mixer.still]
use = "still.parts:Still"
summary = "passes nothing on and cannot stream"
provides = ["causal"]
"""
PARTS = """
import attrs
from torch import nn
class Module(nn.Linear):
    def forward(self, x, position, length): return super().forward(x)
@attrs.frozen
class Still:
    def build(self, *, width, depth): return Module(width, width)
"""


def test_what_cannot_stream_says_so(tmp_path, fake_plugin):
    fake_plugin("still", manifest=PLUGIN, modules={"parts": PARTS})
    path = tiny.write_spec(tmp_path, mixer='mixer = "still"')
    assert cost(read(path, Registry.discover()), steps=1).state is None
    shown = CliRunner().invoke(cli, ["cost", str(path), "--steps", "1"])
    assert "streaming      no" in shown.output


def test_nothing_is_written(tmp_path, monkeypatch):
    path = tiny.write_spec(tmp_path, observe='observe = ["jsonl", "progress"]')
    monkeypatch.chdir(tmp_path)
    before = {entry: entry.stat().st_mtime_ns for entry in tmp_path.rglob("*")}
    cost(read(path, Registry.discover()), steps=1)
    assert {entry: entry.stat().st_mtime_ns for entry in tmp_path.rglob("*")} == before


def test_the_verb_prints_all_of_it(tmp_path):
    path = str(tiny.write_spec(tmp_path, steps="steps = 8000", more="evaluate = 4000"))
    shown = CliRunner().invoke(cli, ["cost", path, "--steps", "1"])
    assert shown.exit_code == 0
    by_component, by_phase = (re.findall(rf" ({number})%", shown.output) for number in (r"\d+\.\d", r"\d+"))
    assert sum(map(float, by_component)) == pytest.approx(100)
    assert sum(map(int, by_phase)) == 100
    for words in ("mixer", "forward FLOPs/token", "peak memory", "optimizer", "8,000 steps", "2 evaluations"):
        assert words in shown.output
    as_json = CliRunner().invoke(cli, ["cost", path, "--steps", "1", "--json", "--set", "model.width=8"])
    assert json.loads(as_json.output)["parameters"]["head"] == 8 * V


def test_mistakes_are_one_line(tmp_path, capsys):
    assert _run(["cost", str(tiny.write_spec(tmp_path, width="width = 0"))]) == 2
    assert _run(["cost", str(tiny.write_spec(tmp_path)), "--steps", "0"]) == 2
    text = 'corpus = { use = "text", path = "missing.txt" }'
    assert _run(["cost", str(tiny.write_spec(tmp_path, corpus=text))]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "missing.txt" in lines[-1]


def test_what_cannot_be_built_is_refused(tmp_path):
    with pytest.raises(UserError, match="heads"):
        cost(spec_of(tmp_path, mixer='mixer = { use = "attention", heads = 3 }'))
