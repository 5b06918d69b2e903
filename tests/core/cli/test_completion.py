"""Completion in a shell: each asks the command itself, by a variable."""

from __future__ import annotations

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
