"""Folders of comparisons from elsewhere: one line whatever stands there, and nothing outside is touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import measured
import pytest
import tiny
from hostile import PUT

from resnetbk_instrument.session.journal import Journal


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that is over, as far as its files say."""
    folder = tmp_path_factory.mktemp("compared")
    comparison = measured.comparison(1.0, 5.9)
    journal = Journal(folder / "out")
    (folder / "out").mkdir()
    journal.begin({"schema": 3, "goal": {}}, resume=False)
    for trial in comparison.trials:
        journal.add(trial)
    journal.finish(comparison)
    return folder


@pytest.mark.parametrize("what", PUT)
@pytest.mark.parametrize("file", ["plan.json", "trials.jsonl", "result.json"])
def test_one_line_whatever_stands_there(call, compared: Path, tmp_path: Path, file: str, what: str) -> None:
    specs = tiny.mixers(tmp_path)
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    shutil.copytree(compared / "out", out)
    (out / file).unlink()
    PUT[what](out / file, victim)
    for verb in (["report", out], ["compare", *specs, "--target-loss", "9", "--out", out, "--resume"]):
        code, _, told = call(*verb)
        told = told.removeprefix("reading the texts and counting n-grams\n")
        needed = (file == "result.json") == (verb[0] == "report")
        assert code in ((2, 4) if needed or verb[0] == "compare" else (0,)), (verb[0], told)
        if needed and what not in ("nothing",):
            assert told.count("\n") == 1 or (what, verb[0]) == ("foreign JSON", "compare"), told
    assert victim.read_text() == "precious"
