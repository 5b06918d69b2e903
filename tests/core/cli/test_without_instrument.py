"""Core and the first-party components without the plugins of verbs: they work, and say what is missing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tiny


@pytest.fixture(params=["blocked", "not importable"])
def resnetbk(request, tmp_path):
    """Runs the program in a process that has neither the instrument nor the verbs for authors."""
    environment = {**os.environ}
    if request.param == "blocked":
        environment["RESNETBK_PLUGINS"] = "-resnetbk-instrument,-resnetbk-authoring"

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        code = (
            "import sys; sys.modules |= dict.fromkeys(('resnetbk_instrument', 'resnetbk_authoring'))\n"
            "from resnetbk.cli import main; main(sys.argv[1:])"
        )
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            errors="replace",  # what a model writes is not always UTF-8
            check=False,
        )

    return run


def test_training_evaluation_and_generation_work(resnetbk, tmp_path):
    spec = tiny.write_spec(tmp_path, steps="steps = 2")
    done = resnetbk("train", spec, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*.html"))
    for words in (["eval"], ["generate", "--prompt", "a", "--tokens", 3]):
        done = resnetbk(words[0], tmp_path / "run", *words[1:])
        assert done.returncode == 0, done.stderr
    assert resnetbk("check", spec).returncode == 0


def test_one_line_says_which_package_brings_a_verb(resnetbk):
    done = resnetbk("compare", "a.toml", "b.toml")
    assert done.returncode == 2
    assert done.stderr.startswith("no verb 'compare'; plugin resnetbk-instrument brings it, which is ")
    assert done.stderr.count("\n") == 1
    assert "compare" not in resnetbk("--help").stdout
