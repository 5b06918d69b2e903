"""`--device`: which names there are, and what is said of a device that is not there."""

from __future__ import annotations

import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.training.device import at, find_device


@pytest.fixture
def two_gpus(monkeypatch):
    """Looks like a machine with two, of which none is ever used."""
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


def test_without_a_name_it_is_the_first_gpu_or_the_one_of_at(two_gpus) -> None:
    assert str(find_device()) == "cuda"
    with at(torch.device("cuda:1")):
        assert str(find_device()) == "cuda:1"


def test_a_gpu_with_a_number_becomes_the_current_one(two_gpus) -> None:
    assert str(find_device("cuda:1")) == "cuda:1"
    assert two_gpus == [torch.device("cuda:1")]
    with pytest.raises(UserError, match=r"no cuda:2 here; the last one is cuda:1"):
        find_device("cuda:2")


@pytest.mark.parametrize(
    "verb", ["train", "eval", "generate", "explain", "cost", "compare", "ablate", "tune"]
)
def test_every_verb_that_computes_takes_it(call, tmp_path, verb) -> None:
    code, out, _ = call(verb, "--help")
    assert code == 0
    assert "--device DEVICE" in out
    code, _, err = call(verb, tmp_path, "--device", "gpu")
    assert code == 2
    assert "'gpu': cpu, cuda, cuda:N (as in cuda:1) or mps" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_device_that_is_not_here_is_one_line(call, tmp_path) -> None:
    spec = tiny.write_spec(tmp_path)
    said = "there is no CUDA device here; leave --device out, or say cpu\n"
    assert call("train", spec, "--device", "cuda:1", "--out", tmp_path / "run") == (2, "", said)
    assert not (tmp_path / "run").exists()
