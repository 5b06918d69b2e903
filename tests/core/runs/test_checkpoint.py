"""Checkpoints come back exactly, and are found."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
import torch
from checkpoints import FILES, assert_nothing_half_written, example, fields, flip, plain, refused
from safetensors.torch import load_file

from resnetbk.errors import StorageError
from resnetbk.runs import checkpoint
from resnetbk.runs.checkpoint import Checkpoint, available, latest, load, prune, save
from resnetbk.runs.checkpoint_manifest import verify

# ---------------------------------------------------------------- there and back


def test_a_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    saved = example(600)
    path = save(tmp_path / "checkpoints", 600, saved)
    assert path == tmp_path / "checkpoints" / "step-000600"
    assert sorted(file.name for file in path.iterdir()) == FILES
    assert (tmp_path / "LATEST").read_text() == "step-000600\n"
    assert fields(load(path)) == fields(saved)


def test_the_model_file_is_an_ordinary_one(run: Path) -> None:
    weights = load_file(run / "checkpoints" / "step-000600" / "model.safetensors")
    assert plain(weights) == plain(dict(sorted(example(600).model.items())))


def test_files_are_as_open_to_others_as_any_file(run: Path) -> None:
    (run / "any").write_text("")
    for file in (run / "checkpoints" / "step-000600").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((run / "any").stat().st_mode)


def test_without_the_optimizer_its_tensors_are_verified_but_not_read(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    tensors = checkpoint._tensors

    def spy(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
        found = tensors(path, prefix)
        read.extend(found)
        return found

    monkeypatch.setattr(checkpoint, "_tensors", spy)
    path = run / "checkpoints" / "step-000600"
    found, expected = load(path, with_optimizer=False), example(600)
    assert plain([found.model, found.optimizer, found.state]) == plain([expected.model, {}, expected.state])
    assert "state.rng.torch" in read
    assert not [name for name in read if name.startswith("optimizer.")]
    flip(path / "optimizer.safetensors", 8 * (path / "optimizer.safetensors").stat().st_size - 1)
    assert "optimizer.safetensors: damaged" in refused(path, with_optimizer=False)


def test_the_model_comes_on_the_device_asked_for(run: Path) -> None:
    found = load(run / "checkpoints" / "step-000600", device="meta")
    assert {tensor.device.type for tensor in found.model.values()} == {"meta"}
    assert found.state["rng"]["torch"].device.type == "cpu"


def test_what_was_loaded_is_no_window_into_the_file(run: Path) -> None:
    path = run / "checkpoints" / "step-000600"
    found = load(path)
    for file in FILES:
        size = (path / file).stat().st_size
        with open(path / file, "r+b") as handle:
            handle.write(b"\xff" * size)
    assert fields(found) == fields(example(600))


def test_an_optimizer_without_tensors_and_an_empty_state(tmp_path: Path) -> None:
    saved = Checkpoint({"w": torch.zeros(0, 3), "n": torch.tensor(3)}, {"state": {}, "lr": [0.1]}, {})
    assert fields(load(save(tmp_path / "checkpoints", 0, saved))) == fields(saved)


def test_a_foreign_object_is_our_bug_and_leaves_nothing(run: Path) -> None:
    with pytest.raises(TypeError, match=r"state\.bad: "):
        save(run / "checkpoints", 800, Checkpoint({}, {}, {"bad": object()}))
    assert_nothing_half_written(run)


# ---------------------------------------------------------------- finding


def test_available_lists_checkpoints_alone_by_step(run: Path) -> None:
    folder = run / "checkpoints"
    save(folder, 1_000_000, example(1))
    for other in ("step-0000700", "step-700", "step-abcdef", ".tmp-step-000700", "notes"):
        (folder / other).mkdir()
    (folder / "step-000800").write_text("a file")
    names = [path.name for path in available(run)]
    assert names == ["step-000200", "step-000400", "step-000600", "step-1000000"]
    assert latest(run) == folder / "step-1000000"
    assert available(run / "nowhere") == []
    with pytest.raises(StorageError, match="nowhere: has no checkpoint"):
        latest(run / "nowhere")


@pytest.mark.parametrize("garbage", [b"", b"step-000700\n", b"\xff\xfe", b"../x", b"model\n", None])
def test_without_a_useful_LATEST_the_newest_good_one_is_taken_and_said(
    run: Path, caplog: pytest.LogCaptureFixture, garbage: bytes | None
) -> None:
    (run / "LATEST").unlink()
    if garbage is not None:
        (run / "LATEST").write_bytes(garbage)
    flip(run / "checkpoints" / "step-000600" / "state.json", 50)
    with caplog.at_level(logging.WARNING):
        assert latest(run) == run / "checkpoints" / "step-000400"
    assert "LATEST: names no checkpoint; going by the newest good one" in caplog.text


def test_every_bit_flip_in_LATEST_still_leads_to_a_good_checkpoint(run: Path) -> None:
    for bit in range(8 * (run / "LATEST").stat().st_size):
        flip(run / "LATEST", bit)
        found = latest(run)
        assert found is not None
        verify(found)
        flip(run / "LATEST", bit)


def test_when_all_are_damaged_the_run_is_not_taken_for_a_new_one(run: Path) -> None:
    (run / "LATEST").unlink()
    for path in available(run):
        flip(path / "model.safetensors", 1000)
    with pytest.raises(StorageError, match="names no checkpoint, and all 3 here are damaged"):
        latest(run)


def test_prune_keeps_the_newest_the_best_and_the_latest(run: Path) -> None:
    folder = run / "checkpoints"
    for step in (800, 1000):
        save(folder, step, example(step))
    (run / "LATEST").write_text("step-000400\n")
    prune(run, 1, "step-000200")
    assert [path.name for path in available(run)] == ["step-000200", "step-000400", "step-001000"]
    prune(run, 2, None)
    assert [path.name for path in available(run)] == ["step-000400", "step-001000"]
    prune(run, 0, None)
    assert [path.name for path in available(run)] == ["step-000400", "step-001000"]
    assert_nothing_half_written(run)
