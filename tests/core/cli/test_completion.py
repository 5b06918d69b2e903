"""Completion in a shell: each asks the command itself, by a variable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(call, monkeypatch, shell) -> None:
    monkeypatch.setenv("_RESNETBK_COMPLETE", f"{shell}_source")
    code, out, err = call()
    assert (code, err) == (0, "")
    assert "_RESNETBK_COMPLETE" in out


@pytest.mark.parametrize(
    ("words", "place", "offered"),
    [
        ("resnetbk doct", 1, "plain,doctor"),  # a plugin's verb, without importing it
        ("resnetbk train --dev", 2, "plain,--device"),
        ("resnetbk train --device m", 3, "plain,mps"),
        ("resnetbk train spe", 2, "file,spe"),
    ],
)
def test_verbs_options_values_and_files_are_offered(call, monkeypatch, words, place, offered) -> None:
    monkeypatch.setenv("_RESNETBK_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(place))
    assert call() == (0, f"{offered}\n", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_a_verb_and_an_option(tmp_path) -> None:
    """By the script itself, as a key press calls it."""
    command = tmp_path / "resnetbk"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m resnetbk "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(_RESNETBK_COMPLETE=bash_source resnetbk)"
        press() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            $asked resnetbk
            echo "${COMPREPLY[@]}"
        }
        asked=$(complete -p resnetbk | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        press resnetbk tra
        press resnetbk train --res
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("train\n--resume\n", "")
