"""What it costs to use a trained model: measured, held to the goal, shown, and absent where it was
not measured."""

from __future__ import annotations

import io
import json

import attrs
import measured
import pytest
import tiny
from rich.console import Console

import resnetbk
from resnetbk.metering.flops import FlopCounter
from resnetbk.registry.lookup import Registry
from resnetbk.training.objective import evaluate
from resnetbk.training.signals import Signals
from resnetbk_instrument.cli import tables as verdicts
from resnetbk_instrument.results.comparison import Goal
from resnetbk_instrument.results.conclude import measures, ratios
from resnetbk_instrument.session import runner as module
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.runner import runner

NAMES = ("inference_seconds", "inference_flops")


def outcome(spec, steps=3):
    return runner(Registry.discover(), Signals(), "cpu")(spec, 0, steps)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return resnetbk.load(tiny.write_spec(tmp_path_factory.mktemp("spec"))).spec


def test_operations_are_those_of_one_pass_with_the_trained_model(spec, tmp_path):
    comparison = outcome(spec)
    run = resnetbk.load(tiny.write_spec(tmp_path, steps="steps = 3")).train(tmp_path / "run")
    counter = FlopCounter()
    with counter:
        tokens = evaluate(run.model, run.data(), window=16, precision="fp32").tokens
    assert comparison.costs["inference_flops"] == pytest.approx(counter.flops / tokens, rel=0.01)
    assert comparison.costs["inference_seconds"] > 0


@pytest.mark.parametrize("length", [8, 12])
def test_of_a_task_whole_examples_are_measured(tmp_path, monkeypatch, length):
    monkeypatch.setattr(module, "READ", 100)
    words = f'corpus = {{ use = "group-words", length = {length}, examples = 90, held_out = 40 }}'
    spec = tiny.write_spec(tmp_path, corpus=words, window=f"window = {length}")
    run = resnetbk.load(spec).train(tmp_path / "run", device="cpu")
    tokens = []

    def measured(run, data):
        result = evaluate(run.model, data, window=length, precision="fp32")
        tokens.append(result.tokens)
        return result

    monkeypatch.setattr(type(run), "evaluate", measured)
    assert min(module.inference(run)) > 0
    assert set(tokens) == {96}


def test_training_is_not_charged_with_it(spec, monkeypatch):
    passes = []
    for count in (1, 4):
        monkeypatch.setattr(module, "PASSES", count)
        passes.append(outcome(spec))
    few, many = passes
    assert few.loss == many.loss
    for name in ("flops", "tokens", "inference_flops"):
        assert few.costs[name] == many.costs[name]


def test_what_a_trained_model_skips_is_seen(tmp_path):
    """A policy that trains every layer and uses the first one alone: slow to train, cheap to use."""
    half = tiny.write_spec(tmp_path, model='[model]\nhalting = { use = "fixed", layers = 1 }')
    short = outcome(resnetbk.load(half).spec)
    whole = outcome(resnetbk.load(tiny.write_spec(tmp_path)).spec)
    assert short.costs["inference_flops"] < 0.8 * whole.costs["inference_flops"]


# ---------------------------------------------------------------- what becomes of it


def trials(costs=NAMES):
    """Two variants; using the second's trained model costs half."""
    changes = {name: 1e-5 if name == "inference_seconds" else 4e6 for name in costs}
    return [
        measured.trial(variant, pair, steps, **{name: value / divided for name, value in changes.items()})
        for variant, divided in (("alpha", 1), ("beta", 2))
        for pair in (-1, 0, 1, 2)
        for steps in (100, 125)
    ]


@pytest.mark.parametrize("goal", [Goal(loss=1.89), Goal(equal="tokens")])
def test_it_is_held_to_the_goal_as_every_cost(goal):
    a, b = (measures(goal, trials(), variant, {}) for variant in ("alpha", "beta"))
    assert [a[pair]["inference_flops"] for pair in a] == pytest.approx([4e6] * 3)
    assert [b[pair]["inference_seconds"] for pair in b] == pytest.approx([5e-6] * 3)
    for name in NAMES:
        assert ratios(a, b, name).estimate == pytest.approx(2.0)


def test_a_cost_that_was_not_measured_is_in_no_result(tmp_path):
    for trial in trials(()):
        Journal(tmp_path).add(trial)
    file = tmp_path / "trials.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert not set(NAMES) & set(lines[0]["outcome"]["costs"])
    read = Journal(tmp_path).trials
    assert read == trials(())
    assert {name for costs in measures(Goal(loss=1.89), read, "alpha", {}).values() for name in costs} == {
        "seconds", "cpu_seconds", "flops", "tokens",
    }  # fmt: skip


def compared():
    """A comparison in which it was measured, and half of it is saved."""
    comparison = measured.comparison(1.0, 2.0, names=("alpha", "beta"))
    first, second = comparison.variants
    known = {"inference_seconds": measured.ratio(1e-5, 5), "inference_flops": measured.ratio(4e6, 5)}
    cheaper = {"inference_seconds": measured.ratio(5e-6, 5), "inference_flops": measured.ratio(2e6, 5)}
    saved = {name: measured.ratio(2.125, 5) for name in NAMES}
    variants = (
        attrs.evolve(first, reached={**first.reached, **known}),
        attrs.evolve(second, reached={**second.reached, **cheaper}, saved={**second.saved, **saved}),
    )
    return attrs.evolve(comparison, variants=variants, trials=tuple(trials()))


def said(comparison, monkeypatch) -> str:
    written = io.StringIO()
    monkeypatch.setattr(verdicts, "Console", lambda **_: Console(file=written, width=100))
    verdicts.print_comparison(comparison)
    return written.getvalue()


def test_the_terminal_shows_it_where_it_is_known(monkeypatch):
    text = said(compared(), monkeypatch)
    for words in (
        "the trained model, per token", "inference seconds", "1e-05", "5e-06", "4M",
        "fewer inference FLOPs", "2.12",
    ):  # fmt: skip
        assert words in text, words
    assert "inference" not in said(measured.comparison(1.0, 2.0), monkeypatch)


def test_the_page_shows_it_where_it_is_known(tmp_path):
    pytest.importorskip("matplotlib", reason="reports need matplotlib, the extra `plots`")
    from resnetbk_instrument.pages.write import write_report

    def page(comparison):
        write_report(comparison, tmp_path / "report.html")
        return (tmp_path / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")

    text = page(compared())
    for words in (
        "inference time, µs/token",
        "inference FLOPs, MFLOP/token",
        "fewer inference FLOPs, ×",
        ">10.0<small>",
    ):
        assert words in text, words
    assert "inference time" not in page(measured.comparison(1.0, 2.0))
