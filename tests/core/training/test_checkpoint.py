"""Checkpoints come back exactly, every kind of damage is seen, and nothing is left half-written."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import resource
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from resnetbk.errors import StorageError
from resnetbk.training import checkpoint
from resnetbk.training.checkpoint import Checkpoint, available, latest, load, prune, save, verify
from resnetbk.training.checkpoint_manifest import sealed

FILES = ["manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"]


def example(step: int, width: int = 4) -> Checkpoint:
    """A model with a tied head after two AdamW steps, and state of every sort."""
    torch.manual_seed(step)
    table, layer = torch.nn.Embedding(8, width), torch.nn.Linear(width, width)
    head = torch.nn.Linear(width, 8, bias=False)
    head.weight = table.weight
    model = torch.nn.ModuleDict({"table": table, "layer": layer, "head": head})
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(2):
        head(layer(table(torch.arange(8)))).square().sum().backward()
        optimizer.step()
    state = {
        "step": step,
        "best": float("inf"),
        "rng": {"torch": torch.get_rng_state(), "numpy": np.random.PCG64(step).state},
        "selector": {"losses": np.arange(5, dtype=np.float32) * step},
        "tokenizer": {"merges": [[104, 101]]},
    }
    return Checkpoint(model.state_dict(), optimizer.state_dict(), state)


def plain(tree: Any) -> Any:
    """The same tree with tensors and arrays as (kind, type, nested lists), which compare by value."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(plain(value) for value in tree)
    if isinstance(tree, torch.Tensor | np.ndarray):
        return type(tree).__name__, str(tree.dtype), tree.tolist()
    return tree


def fields(saved: Checkpoint) -> Any:
    return plain([saved.model, saved.optimizer, saved.state])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with checkpoints at steps 200, 400 and 600."""
    for step in (200, 400, 600):
        save(tmp_path / "checkpoints", step, example(step))
    return tmp_path


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(StorageError) as error:
        load(path, **options)
    text = str(error.value)
    assert "\n" not in text
    return text


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


# ---------------------------------------------------------------- damage


def flip(path: Path, bit: int) -> None:
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def test_200_random_bit_flips_are_all_seen_and_the_previous_checkpoint_offered(run: Path) -> None:
    path, before = run / "checkpoints" / "step-000600", run / "checkpoints" / "step-000400"
    rng = random.Random(0)
    for number in range(200):
        file = path / FILES[number % len(FILES)]
        bit = rng.randrange(8 * file.stat().st_size)
        flip(file, bit)
        told = refused(path, with_optimizer=rng.random() < 0.5)
        assert told.startswith(f"{file}: damaged ("), (file.name, bit)
        assert f"; the previous good checkpoint is {before}: remove " in told
        flip(file, bit)
    assert fields(load(path)) == fields(example(600))


def test_every_bit_of_the_manifest_counts(run: Path) -> None:
    path = run / "checkpoints" / "step-000600"
    file = path / "manifest.json"
    for bit in range(8 * file.stat().st_size):
        flip(file, bit)
        with pytest.raises(StorageError, match=r"manifest\.json: damaged"):
            verify(path)
        flip(file, bit)
    verify(path)


@pytest.mark.parametrize("file", FILES)
def test_truncated_lengthened_swapped_and_missing_files_are_named(run: Path, file: str) -> None:
    path, other = run / "checkpoints" / "step-000600", run / "checkpoints" / "step-000400"
    data = (path / file).read_bytes()
    foreign = (other / file).read_bytes()
    assert foreign != data
    for size in (0, 1, 7, 8, 9, len(data) // 2, len(data) - 1):
        (path / file).write_bytes(data[:size])
        assert refused(path).startswith(f"{path / file}: damaged (")
    (path / file).write_bytes(data + b"\n")
    assert refused(path).startswith(f"{path / file}: damaged (")
    (path / file).write_bytes(foreign)
    assert "damaged" in refused(path)
    (path / file).unlink()
    assert file in refused(path)


def test_unlisted_files_and_foreign_folders_are_refused(run: Path) -> None:
    path = run / "checkpoints" / "step-000600"
    (path / "extra.bin").write_bytes(b"")
    assert refused(path).startswith(f"{path / 'extra.bin'}: is not listed in manifest.json")
    (run / "foreign").mkdir()
    (run / "foreign" / "model.safetensors").write_bytes(b"x")
    assert "is not a checkpoint (it has no manifest.json)" in refused(run / "foreign")
    assert "no such checkpoint" in refused(run / "checkpoints" / "step-000500")
    assert "no such checkpoint" in refused(path / "model.safetensors")


def test_a_folder_or_nonsense_in_place_of_a_file_is_no_traceback(run: Path) -> None:
    path = run / "checkpoints" / "step-000600"
    for text in ("[" * 100_000, "[]", "{}", '{"schema": 1, "files": 7}', "nan"):
        (path / "manifest.json").write_text(text)
        assert "manifest.json: damaged" in refused(path)
    other = run / "checkpoints" / "step-000400"
    (other / "model.safetensors").unlink()
    (other / "model.safetensors").mkdir()
    assert "model.safetensors" in refused(other)


def test_another_schema_is_refused_by_its_number(run: Path) -> None:
    path = run / "checkpoints" / "step-000600"
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_bytes(sealed(2, manifest["files"]))
    assert "of schema 2; this version reads schema 1" in refused(path)


def test_the_checkpoint_offered_is_itself_good(run: Path) -> None:
    folder = run / "checkpoints"
    for step, told in ((600, "the previous good checkpoint is"), (400, "step-000200"), (200, "no good")):
        flip(folder / f"step-000{step}" / "model.safetensors", 1000)
        assert told in refused(folder / f"step-000{step}")
    assert refused(folder / "step-000600").endswith("there is no good checkpoint before it")


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
    assert latest(run / "nowhere") is None


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


# ---------------------------------------------------------------- replacing and refusing


def assert_nothing_half_written(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        assert re.fullmatch(r"\.lock|step-\d{6}", path.name)
        if path.is_dir():
            verify(path)
    assert not list(run.glob(".*"))


def test_a_step_saved_again_is_replaced(run: Path) -> None:
    path = save(run / "checkpoints", 400, example(1))
    assert fields(load(path)) == fields(example(1))
    assert latest(run) == path
    assert_nothing_half_written(run)


def test_an_aside_checkpoint_counts_until_its_replacement_is_there(run: Path) -> None:
    folder = run / "checkpoints"
    os.rename(folder / "step-000600", folder / "step-000600.old")  # where a writer may have been killed
    assert latest(run) == folder / "step-000600.old"
    assert load(folder / "step-000600.old").state["step"] == 600
    shutil.copytree(folder / "step-000400", folder / "step-000400.old")
    assert available(run)[1:] == [folder / "step-000400", folder / "step-000600.old"]
    save(folder, 800, example(800))
    assert [path.name for path in available(run)] == [f"step-000{step}" for step in (200, 400, 600, 800)]
    assert_nothing_half_written(run)


def test_what_dead_writers_left_is_removed_by_the_next_save(run: Path) -> None:
    for left in (".tmp-step-000600", ".tmp-step-000800", ".tmp-step-000100.old"):
        shutil.copytree(run / "checkpoints" / "step-000400", run / "checkpoints" / left)
    assert len(available(run)) == 3
    save(run / "checkpoints", 800, example(800))
    assert_nothing_half_written(run)


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", [600, 800])
@pytest.mark.parametrize("function", ["fsync", "mkdir", "rename"])
def test_a_full_disk_is_one_line_and_changes_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, function: str, step: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, function, full_disk)
        with pytest.raises(StorageError) as error:
            save(run / "checkpoints", step, example(1))
    path = run / "checkpoints" / f"step-000{step}"
    assert str(error.value) == f"{path}: cannot be written (No space left on device)"
    assert_nothing_half_written(run)
    found = latest(run)
    assert found is not None
    assert load(found).state["step"] == 600


@pytest.mark.parametrize("call", range(1, 9))
def test_a_disk_that_fills_up_at_any_sync_loses_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls, fsync = 0, os.fsync

    def fails_once(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            full_disk()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(StorageError, match=re.escape("cannot be written (No space left on device)")):
        save(run / "checkpoints", 600, example(1))
    found = latest(run)
    assert found is not None
    assert fields(load(found)) in (fields(example(600)), fields(example(1)))
    save(run / "checkpoints", 800, example(800))
    assert_nothing_half_written(run)


def test_a_write_that_really_fails_is_one_line_and_changes_nothing(run: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = example(800, width=64)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
        with pytest.raises(StorageError) as error:
            save(run / "checkpoints", 800, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "step-000800: cannot be written (" in str(error.value)
    assert "File too large" in str(error.value)
    assert "\n" not in str(error.value)
    assert_nothing_half_written(run)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match="cannot be written") as error:
        save(tmp_path / "run" / "checkpoints", 1, example(1))
    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(run: Path) -> None:
    (run / "checkpoints").chmod(0o500)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            save(run / "checkpoints", 800, example(800))
    finally:
        (run / "checkpoints").chmod(0o700)
    assert_nothing_half_written(run)
