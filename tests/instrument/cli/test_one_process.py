"""What trains or measures is refused in each of several processes, before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

CALLS = {
    "compare": ("{spec}", "{spec}", "--equal", "tokens", "--budget", "200"),
    "ablate": ("{spec}", "--target-loss", "2"),
    "tune": ("{spec}", "--range", "train.optimizer.lr=0.1:0.2"),
    "cost": ("{spec}",),
    "explain": ("run", "--text", "{spec}"),
    "harness": ("run", "--tasks", "some"),
}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("verb", CALLS)
def test_several_processes_are_refused(call, tmp_path: Path, monkeypatch, verb: str, rank: int) -> None:
    spec = tiny.write_spec(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    code, out, err = call(verb, *(word.format(spec=spec) for word in CALLS[verb]))
    assert (code, out) == (2, "")
    told = (
        f"{verb}: runs in one process, and WORLD_SIZE=2 asks for several; start it without "
        "torchrun, or unset WORLD_SIZE\n"
    )
    assert err == told
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("size", ["", "1"])
def test_one_process_is_not(call, tmp_path: Path, monkeypatch, size: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    assert "no such run" in call("explain", tmp_path / "run", "--text", tiny.write_spec(tmp_path))[2]
