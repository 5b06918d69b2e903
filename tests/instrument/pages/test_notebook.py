"""Pages in a notebook."""

from __future__ import annotations

import builtins
import html
import re

import measured
import pytest
import tiny

from resnetbk.errors import UserError
from resnetbk_instrument.notebook import Page, page, plot
from resnetbk_instrument.pages.write import report_text

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return tiny.experiment(folder, steps="steps = 4\nevaluate = 2").train(folder / "run")


def test_a_run_is_shown_in_a_frame_of_its_own(run) -> None:
    shown = page(run.folder.path)._repr_html_()
    document = html.unescape(
        re.fullmatch(r'<iframe srcdoc="([^"]*)" style="[^"]*"></iframe>', shown, re.S)[1]
    )
    assert document.lower().startswith("<!doctype html>")
    assert f"{run.report.loss:.3f}" in document


def test_the_page_of_a_comparison_is_that_of_report() -> None:
    comparison = measured.comparison(1.0, 2.0)
    assert html.escape(report_text(comparison)) in Page(report_text(comparison), comparison)._repr_html_()


def test_a_folder_of_neither_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="neither a run"):
        page(tmp_path)


def test_the_plot_has_the_losses_of_batches_and_evaluations(run) -> None:
    shown = plot(run)
    assert shown._repr_png_().startswith(b"\x89PNG")
    batches, held_out = shown.figure.axes[0].lines
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
        plot(run)
