"""Checkpoints are written whole or not at all, whatever the disk does."""

from __future__ import annotations

import os
import re
import resource
import shutil
from pathlib import Path

import attrs
import pytest
from checkpoints import assert_nothing_half_written, example, fields

from resnetbk.errors import StorageError
from resnetbk.runs.checkpoint import available, latest, load, save


def test_a_step_saved_again_is_replaced(run: Path) -> None:
    path = save(run / "checkpoints", 400, example(1))
    assert fields(load(path)) == fields(example(1))
    assert latest(run) == path
    assert_nothing_half_written(run)


@pytest.mark.parametrize("names", ["two names", "one name"])
def test_unchanged_tensors_are_not_written_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    if names == "one name":
        monkeypatch.setattr(os, "link", full_disk)  # as on disks where a file has one
    before = example(600)
    files = [run / "checkpoints" / "step-000600" / f"{name}.safetensors" for name in ("model", "optimizer")]
    written = [file.stat().st_ino for file in files]
    after = attrs.evolve(before, state={**before.state, "best": 1.5})
    path = save(run / "checkpoints", 600, after, unchanged=True)
    assert ([file.stat().st_ino for file in files] == written) is (names == "two names")
    assert fields(load(path)) == fields(after) != fields(before)
    assert_nothing_half_written(run)


def test_tensors_to_be_kept_are_written_where_they_are_damaged(run: Path) -> None:
    (run / "checkpoints" / "step-000600" / "manifest.json").write_text("{}")
    path = save(run / "checkpoints", 600, example(600), unchanged=True)
    assert fields(load(path)) == fields(example(600))


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
