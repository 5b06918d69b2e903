"""Pages in a notebook."""

from __future__ import annotations

import html
import re

import measured
import pytest
import tiny

from resnetbk.errors import UserError
from resnetbk_instrument.notebook import Page, page
from resnetbk_instrument.pages.write import report_text

pytest.importorskip("matplotlib")


def test_a_run_is_shown_in_a_frame_of_its_own(tmp_path) -> None:
    run = tiny.experiment(tmp_path, steps="steps = 2").train(tmp_path / "run")
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
