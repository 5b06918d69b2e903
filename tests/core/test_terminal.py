"""One rule for all output: letters stay, controls are shown, pipes get bytes as they are."""

from __future__ import annotations

import os
import sys

import pytest
import tiny

from resnetbk import terminal
from resnetbk.terminal import duration, harmless, ignore_absurd_size, standard_error, steps_told

LETTERS = "aé漢字 עברית فارسی\u200cها 👩\u200d🔬 \u00a0\u00ad\n\t"


def test_letters_stay_and_controls_are_shown() -> None:
    assert harmless(LETTERS) == LETTERS
    assert harmless("\x1b[31m\x07\x00\r\x7f\x9b\u202e") == "␛[31m␇␀␍␡\ufffd\ufffd"


def test_generate_gives_a_pipe_bytes_as_they_are(tmp_path, capfdbinary, monkeypatch) -> None:
    from resnetbk.cli import _run

    run = tiny.experiment(tmp_path, steps="steps = 1").train(tmp_path / "run")
    pieces = [b"\x1b[31m", "é".encode()[:1], "é".encode()[1:], b"\xff"]
    monkeypatch.setattr(type(run), "generate", lambda *_, **__: iter(pieces))
    arguments = ["generate", str(tmp_path / "run"), "--prompt", "a\u200cb"]
    capfdbinary.readouterr()
    assert _run(arguments) == 0
    assert capfdbinary.readouterr().out == "a\u200cb".encode() + b"".join(pieces) + b"\n"
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True, raising=False)
    assert _run(arguments) == 0
    assert capfdbinary.readouterr().out.decode() == "a\u200cb␛[31mé\ufffd\n"


@pytest.mark.parametrize("said", ["0", "-1", "x", "", "99999999999999999999"])
def test_an_absurd_width_is_forgotten(call, monkeypatch, said) -> None:
    monkeypatch.setenv("COLUMNS", said)
    ignore_absurd_size()
    assert "COLUMNS" not in os.environ
    monkeypatch.setenv("COLUMNS", "100")
    ignore_absurd_size()
    assert os.environ["COLUMNS"] == "100"


def test_a_program_without_standard_error_trains(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    standard_error().write("to nobody")
    observe = 'observe = ["progress", "jsonl"]'
    assert tiny.experiment(tmp_path, steps="steps = 1", observe=observe).train(tmp_path / "run").report


def test_for_ever_is_no_date() -> None:
    assert duration(75) == "0:01:15"
    assert duration(1e30).endswith(" days")


def test_long_steps_are_told_in_lines_without_a_terminal(monkeypatch, caplog) -> None:
    caplog.set_level("INFO", "resnetbk")
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    assert list(steps_told("encoding 4 MiB", iter("abcd"), 4)) == list("abcd")
    assert caplog.messages == ["encoding 4 MiB: 1 of 4, 0:00:36 left", "encoding 4 MiB: 3 of 4, 0:00:08 left"]


def test_a_first_step_that_is_long_in_coming_foretells_nothing(monkeypatch, caplog) -> None:
    caplog.set_level("INFO", "resnetbk")
    clock = iter((0, 100, 101, 110))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    assert list(steps_told("encoding 2 MiB", iter("abc"), 3)) == list("abc")
    assert caplog.messages == ["encoding 2 MiB: 1 of 3, 0:03:22 left"]


def test_long_steps_are_a_bar_on_a_terminal(monkeypatch, capsys) -> None:
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert list(steps_told("encoding 4 MiB", iter("abcd"), 4)) == list("abcd")
    written = capsys.readouterr()
    assert "encoding 4 MiB" in written.err
    assert not written.out
