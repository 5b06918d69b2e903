"""The page of a run, of any age and in any state, and the verb that makes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from typing import Any

import measured
import pytest
import tiny
from checkpoints import reseal

from resnetbk.errors import StorageError
from resnetbk.files import spelled, with_crc
from resnetbk.runs.run_folder import RunFolder
from resnetbk_instrument.pages import svg as report_svg
from resnetbk_instrument.pages.write import write_run_report
from resnetbk_instrument.session.journal import Journal

pytest.importorskip("matplotlib", reason="reports need matplotlib, the extra `plots`")

NGRAM_BASELINE = {1: 2.875, 7: 0.512}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    tiny.experiment(folder, steps="steps = 12", more="evaluate = 4").train(folder / "run")
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(trained, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def page(run: RunFolder, ngram_baseline=NGRAM_BASELINE) -> str:
    path = run.path / "report.html"
    write_run_report(run, path, ngram_baseline)
    return path.read_text(encoding="utf-8")


def rewritten(run: RunFolder, change) -> None:
    """Every line of metrics as `change` gives it; None leaves it out."""
    lines = [change(spelled(line)) for line in run.metrics()]
    write(run, (line for line in lines if line))


def write(run: RunFolder, lines: Iterable[dict[str, Any]]) -> None:
    run.metrics_file.write_text("".join(json.dumps(with_crc(line)) + "\n" for line in lines))


def test_a_page_says_what_the_run_came_to(run):
    text = page(run)
    end = run.metrics()[-1]
    assert end["event"] == "finished"
    assert f"{end['loss']:.3f} nats/token" in text
    assert f"{end['parameters']:,}" in text
    for said in ("768", "2.875", "0.512", "all steps done", "Learning rate", "Norm of the gradient"):
        assert said in text, said
    assert "width = 16" in text
    assert "http" not in text
    assert page(run) == text


def test_a_page_of_lines_from_before_costs_were_counted(run):
    def older(line):
        return {k: v for k, v in line.items() if k not in ("flops", "phases", "cpu_seconds", "peak_memory")}

    rewritten(run, older)
    text = page(run)
    assert "Against time" in text
    assert "Against FLOPs" not in text
    assert "Where the time goes" not in text


def test_a_page_with_all_that_can_be_told(run):
    def fuller(line):
        if line["event"] == "step":
            share = 1 - line["step"] / 24
            line |= {"flops": 1e9 * line["step"], "rows": [1.0, share], "penalties": {"ponder": 0.5 * share}}
        if line["event"] == "finished":
            cost = {"seconds": 30.0, "cpu_seconds": 60.0, "flops": 1e12, "calls": 12}
            phases = {"forward": cost, "scoring": {**cost, "seconds": 10.0}}
            line |= {"flops": 1.2e10, "phases": phases, "cpu_seconds": 75.0, "peak_memory": 2**30}
        return line

    rewritten(run, fuller)
    text = page(run)
    for said in (
        "Against FLOPs", "12.0 GFLOP", "forward 75 %", "40.0 s", "1.25 min", "1.00 GiB", "Penalty: ponder",
        "Share of rows computed", "layer 2",
    ):  # fmt: skip
        assert said in text, said


def test_rows_are_left_out_where_every_layer_computed_all(run):
    assert "Share of rows computed" not in page(run)


def test_a_page_of_a_run_that_went_wrong(run):
    def broken(line):
        if line["step"] == 3 and line["event"] == "step":
            return {**line, "loss": "NaN", "gradient_norm": "Infinity"}
        return None if line["event"] == "finished" else line

    rewritten(run, broken)
    text = page(run)
    assert "The run is not finished; 12 steps are done." in text
    assert "nan" not in text.split()


@pytest.mark.parametrize("left", [0, 1])
def test_a_page_of_a_run_that_has_hardly_begun(run, left):
    lines = run.metrics_file.read_text().splitlines(keepends=True)
    run.metrics_file.write_text("".join(lines[:left]))
    text = page(run)
    assert "Nothing was measured on held-out text yet." in text
    assert f"{left} steps are done" in text
    assert ("No step was recorded" in text) == (left == 0)


def test_a_long_run_makes_no_long_page(run):
    line = run.metrics()[0]
    write(run, ({**line, "step": s, "tokens": 64 * s, "seconds": 0.1 * s} for s in range(1, 20_001)))
    assert len(page(run)) < 150_000


def test_what_is_in_the_lock_is_escaped(run):
    lock = run.spec_lock.read_text()
    run.spec_lock.write_text(lock.replace('name = "tiny"', 'name = "<script>&"'))
    reseal(run.path)
    text = page(run)
    assert "<script" not in text
    assert "&lt;script&gt;&amp;" in text


@pytest.mark.parametrize("content", ["", "schema = [", "spec = 3"])
def test_a_damaged_lock_is_named(run, content):
    run.spec_lock.write_text(content)
    with pytest.raises(StorageError, match=r"spec\.lock\.toml: one was damaged or changed"):
        page(run)
    shutil.rmtree(run.checkpoints)  # without which nothing tells what it was
    with pytest.raises(StorageError, match=r"spec\.lock\.toml: damaged"):
        page(run)


# ---------------------------------------------------------------- the verb


def test_report_of_a_run_knows_the_ngram_baseline_of_its_text(call, run):
    assert call("report", run.path) == (0, f"{run.path}/report.html\n", "")
    assert "7-gram" in (run.path / "report.html").read_text()


def test_report_of_a_run_whose_text_is_gone(call, run, trained):
    lock = run.spec_lock.read_text()
    run.spec_lock.write_text(lock.replace("corpus.txt", "gone.txt"))
    reseal(run.path)
    code, out, err = call("report", run.path, "--out", run.path / "new" / "page.html")
    assert (code, out) == (0, f"{run.path}/new/page.html\n")
    assert err.startswith("warning: the page has no n-gram baseline: ")
    assert "7-gram" not in (run.path / "new" / "page.html").read_text()


@pytest.mark.parametrize("result", [measured.comparison(1.0, 5.9), measured.ablation()])
def test_report_of_a_comparison_and_of_an_ablation(call, tmp_path, result):
    Journal(tmp_path).finish(result)
    assert call("report", tmp_path) == (0, f"{tmp_path}/report.html\n", "")
    assert "1.88 nats in <b>at least" in (tmp_path / "report.html").read_text()


def test_report_of_nothing_is_one_line(call, tmp_path):
    code, out, err = call("report", tmp_path)
    assert (code, out) == (2, "")
    assert err == f"{tmp_path}: neither a run (no spec.lock.toml) nor a comparison (no result.json)\n"
    code, _, err = call("report", tmp_path / "gone")
    assert code == 2
    assert err.count("\n") == 1
    spec = tiny.write_spec(tmp_path)
    code, _, err = call("report", spec)
    assert (code, err) == (
        2, f"{spec}: is a file; a run is a folder; from a spec, `resnetbk train {spec}` makes one\n",
    )  # fmt: skip
    assert call("report", tmp_path, "--out", tmp_path)[0] == 2


def test_report_without_matplotlib(call, run, monkeypatch):
    monkeypatch.setattr(report_svg, "has_matplotlib", lambda: False)
    code, out, err = call("report", run.path)
    assert (code, out, err) == (2, "", 'a report needs matplotlib: pip install "resnetbk[plots]"\n')


def test_train_writes_a_report_where_matplotlib_is(call, tmp_path, monkeypatch):
    spec = tiny.write_spec(tmp_path, steps="steps = 2")
    code, out, _ = call("train", spec, "--out", tmp_path / "with")
    assert code == 0
    assert f"\nReport: {tmp_path}/with/report.html\n" in out
    assert "7-gram" in (tmp_path / "with" / "report.html").read_text()
    monkeypatch.setattr(report_svg, "has_matplotlib", lambda: False)
    code, out, _ = call("train", spec, "--out", tmp_path / "without")
    assert code == 0
    assert "Report:" not in out
    again = f"resnetbk report {tmp_path}/without"
    assert f'\nFor a page of it: pip install "resnetbk[plots]", then {again}\n' in out
    assert not (tmp_path / "without" / "report.html").exists()
