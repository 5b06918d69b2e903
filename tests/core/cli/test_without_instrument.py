"""Core and the first-party components without the plugins of verbs: they work, and say what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import tiny

WITHOUT = """
import json, pathlib, sys
sys.modules |= dict.fromkeys(("resnetbk_instrument", "resnetbk_authoring"))
from resnetbk.cli import _run
codes = [_run(words) for words in json.loads(sys.argv[1])]
pathlib.Path("codes.json").write_text(json.dumps(codes))
"""


@pytest.fixture(params=["blocked", "not importable"])
def resnetbk(request, tmp_path):
    """Runs command lines, in one process that has neither the instrument nor the verbs for authors; gives
    their exit codes, standard output and standard error."""
    environment = {**os.environ}
    if request.param == "blocked":
        environment["RESNETBK_PLUGINS"] = "-resnetbk-instrument,-resnetbk-authoring"

    def run(*lines: list[object]) -> tuple[list[int], str, str]:
        given = json.dumps([[str(word) for word in words] for words in lines])
        command = [sys.executable, "-c", WITHOUT, given]
        done = subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            errors="replace",  # what a model writes is not always UTF-8
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "codes.json").read_text()), done.stdout, done.stderr

    return run


def test_training_evaluation_and_generation_work(resnetbk, tmp_path):
    spec = tiny.write_spec(tmp_path, steps="steps = 2")
    run = tmp_path / "run"
    codes, _, err = resnetbk(
        ["train", spec, "--out", run],
        ["eval", run],
        ["generate", run, "--prompt", "a", "--tokens", 3],
        ["check", spec],
    )
    assert codes == [0] * 4, err
    assert not list(tmp_path.rglob("*.html"))


def test_one_line_says_which_package_brings_a_verb(resnetbk):
    codes, out, err = resnetbk(["compare", "a.toml", "b.toml"], ["--help"])
    assert codes == [2, 0]
    assert err.startswith("no verb 'compare'; plugin resnetbk-instrument brings it, which is ")
    assert err.count("\n") == 1
    assert "train" in out
    assert "compare" not in out
