"""A signal at any moment ends the program or saves: never a traceback, and what is there goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from resnetbk.training.signals import NOTED

MOMENTS = (0.5, 0.05, 1.0, 2.0, 3.0)
"""Seconds after the beginning: while Python starts, imports, builds, trains. Ctrl-C comes after the start, in
which Python itself tells of it with a traceback."""


def heard() -> None:
    """In the child: as in a terminal, where no signal is ignored."""
    for signum in NOTED:
        signal.signal(signum, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("signum", "moment"), list(zip(NOTED, MOMENTS, strict=True)))
def test_it_ends_without_a_traceback_and_goes_on(tmp_path: Path, signum: signal.Signals, moment: float):
    spec = tiny.write_spec(tmp_path, steps="steps = 100000")
    command = [sys.executable, "-m", "resnetbk", "train", str(spec), "--out", str(tmp_path / "run")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        time.sleep(moment)
        process.send_signal(signum)
        _, told = process.communicate()
    assert "Traceback" not in told
    assert process.returncode in (-signum, 128 + signum)
    saved = (tmp_path / "run" / "LATEST").exists()
    assert saved == ("which is saved; --resume goes on" in told)
    if process.returncode > 0:
        assert saved or told == "\ninterrupted\n"  # by Ctrl-C before there was a first step


@pytest.mark.parametrize("torchrun", [False, True])
def test_a_second_ctrl_c_ends_it_at_once_but_torchruns_does_not(monkeypatch, torchrun: bool):
    from resnetbk.training.signals import Signals

    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGINT)
            if torchrun:
                signal.raise_signal(signal.SIGINT)
            else:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
            with Signals() as inner:  # of a training within a comparison
                assert inner.received == signals.received == signal.SIGINT
        with Signals() as signals:
            with Signals():
                signal.raise_signal(signal.SIGINT)
            assert signals.received == signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)
