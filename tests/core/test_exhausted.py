"""Memory that ran out is one line, whoever says it and however it is wrapped."""

import pytest
import tiny
import torch

from resnetbk.exhausted import exhausted


def raised_from(error: BaseException) -> BaseException:
    outer = RuntimeError("outer")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("could not create a primitive"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_it_is_seen_at_any_depth(error: BaseException) -> None:
    assert exhausted(error)
    assert exhausted(raised_from(raised_from(error)))


def test_other_errors_are_not_it() -> None:
    assert not exhausted(raised_from(RuntimeError("shapes differ")))


def test_too_little_memory_for_torch_itself_is_one_line(call, monkeypatch, tmp_path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr("resnetbk.training.experiment.Experiment.train", refuse)
    code, _, told = call("train", tiny.write_spec(tmp_path))
    assert code == 2
    cause = "ImportError: libtorch_cpu.so: failed to map segment from shared object"
    assert told == f"memory does not suffice here ({cause})\n"
