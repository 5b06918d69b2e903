"""What does not fit into memory is refused before it is allocated, with what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.model.assemble import assemble
from resnetbk.training import memory
from resnetbk.training.memory import check_memory, count, told_if_exhausted

CPU = torch.device("cpu")


@pytest.mark.parametrize("tie", ["", "tie = true"])
def test_parameters_are_counted_without_allocating_any(tmp_path: Path, tie: str) -> None:
    spec = tiny.experiment(tmp_path, width=f"width = 16\n{tie}").spec
    model = assemble(spec.model, vocabulary=256, seed=0)
    norms = sum(p.numel() for name, p in model.named_parameters() if "norm" in name)
    assert count(spec.model, 256) == model.parameter_count() - norms


def test_what_is_too_large_says_what_would_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny.experiment(tmp_path).spec
    parameters = count(spec.model, 256)
    monkeypatch.setattr(memory, "free_memory", lambda device: 12 * parameters + 40_000)
    check_memory(spec, 256, CPU)
    monkeypatch.setattr(memory, "free_memory", lambda device: 6 * parameters)
    with pytest.raises(UserError, match=r"parameters would fit into; make model\.width, model\.depth"):
        check_memory(spec, 256, CPU)
    check_memory(tiny.experiment(tmp_path, more='parallel = "fsdp"').spec, 256, CPU, processes=4)


@pytest.mark.parametrize("key", ["width = 1000000", "depth = 1000000000", "batch = 1000000000000"])
def test_bombs_are_refused_at_once(tmp_path: Path, key: str) -> None:
    name = key.partition(" ")[0]
    with pytest.raises(UserError):
        tiny.experiment(tmp_path, **{name: key}).train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_system_says_how_much_is_free() -> None:
    free = memory.free_memory(CPU)
    assert free is None or free > 1 << 20


def test_memory_that_runs_out_all_the_same_is_one_line() -> None:
    with pytest.raises(UserError, match="memory does not suffice"), told_if_exhausted():
        raise MemoryError
    with pytest.raises(RuntimeError, match="other"), told_if_exhausted():
        raise RuntimeError("other")
