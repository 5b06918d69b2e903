"""Every kind of damage to a checkpoint is seen and named, and the previous good one offered."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from checkpoints import FILES, example, fields, flip, refused

from resnetbk.errors import StorageError
from resnetbk.runs.checkpoint import load
from resnetbk.runs.checkpoint_manifest import sealed, verify


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
    assert ("is of step 400" if file == "manifest.json" else "damaged") in refused(path)
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
    (path / "manifest.json").write_bytes(sealed(3, "", 600, manifest["files"]))
    assert "of schema 3; this version reads schema 2" in refused(path)


def test_the_checkpoint_offered_is_itself_good(run: Path) -> None:
    folder = run / "checkpoints"
    for step, told in ((600, "the previous good checkpoint is"), (400, "step-000200"), (200, "no good")):
        flip(folder / f"step-000{step}" / "model.safetensors", 1000)
        assert told in refused(folder / f"step-000{step}")
    assert refused(folder / "step-000600").endswith("there is no good checkpoint before it")
