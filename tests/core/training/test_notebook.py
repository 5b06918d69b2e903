"""What a notebook shows of a run."""

from __future__ import annotations

import sys

import pytest
import tiny

import resnetbk


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return tiny.experiment(folder, steps="steps = 4\nevaluate = 2").train(folder / "<b>run")


def test_a_run_is_a_table_of_how_it_ended(run) -> None:
    shown = run._repr_html_()
    assert "&lt;b&gt;run</td>" in shown
    assert f"{run.model.parameter_count():,}" in shown
    assert f"<td>{run.report.loss:.4f}</td>" in shown
    assert resnetbk.open_run(run.folder.path)._repr_html_() == shown


def test_metrics_are_a_frame_where_there_is_pandas(run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    lines = run.metrics()
    assert [line["step"] for line in lines if line["event"] == "step"] == [1, 2, 3, 4]
    module = type(sys)("pandas")
    module.DataFrame = lambda rows: ("frame", len(rows))
    monkeypatch.setitem(sys.modules, "pandas", module)
    assert run.metrics() == ("frame", len(lines))


def test_the_model_can_be_called(run) -> None:
    import torch

    tokens = torch.from_numpy(run.encode("the quick"))[None]
    assert run.model(tokens).logits.shape == (1, tokens.shape[1], run.tokenizer.vocabulary)
