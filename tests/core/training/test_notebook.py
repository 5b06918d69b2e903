"""What a notebook shows of a run."""

from __future__ import annotations

import builtins
import sys

import pytest
import tiny

import resnetbk
from resnetbk.errors import UserError


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


def test_the_plot_has_the_losses_of_batches_and_evaluations(run) -> None:
    pytest.importorskip("matplotlib")
    plot = run.plot()
    assert plot._repr_png_().startswith(b"\x89PNG")
    batches, held_out = plot.figure.axes[0].lines
    steps = [line for line in run.folder.metrics() if line.get("event") == "step"]
    assert list(batches.get_ydata()) == [line["loss"] for line in steps]
    assert list(held_out.get_xdata()) == [2, 4]


def test_without_matplotlib_a_plot_says_what_to_install(run, monkeypatch) -> None:
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"resnetbk\[plots\]"):
        run.plot()


def test_the_model_can_be_called(run) -> None:
    import torch

    tokens = torch.from_numpy(run.encode("the quick"))[None]
    assert run.model(tokens).logits.shape == (1, tokens.shape[1], run.tokenizer.vocabulary)
