"""Run folders from elsewhere: whatever stands where a file should be, one line says so, and nothing outside
is touched."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
from pathlib import Path

import pytest
import tiny
from hostile import GIANT, PUT

from resnetbk.runs.checkpoint_manifest import sealed

FILES = [
    *("spec.lock.toml", "LATEST", "metrics.jsonl"),
    *(f"checkpoints/step-000008/{name}" for name in ("manifest.json", "state.json", "model.safetensors")),
    "checkpoints/step-000008/optimizer.safetensors",
]
READERS = ["eval", "generate", "resume", "diff"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    tiny.experiment(folder).train(folder / "run")
    return folder


def command(verb: str, folder: Path, run: Path) -> list[object]:
    return {
        "eval": ["eval", run],
        "generate": ["generate", run, "--prompt", "a", "--tokens", 1],
        "resume": ["train", folder / "tiny.toml", "--out", run, "--resume"],
        "diff": ["diff", run, folder / "run"],
    }[verb]


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("what", PUT)
def test_one_line_whatever_stands_there(call, trained: Path, tmp_path: Path, what: str, verb: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for file in FILES:
        run = tiny.copy_run(trained / "run", tmp_path / "run")
        (run / file).unlink()
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        PUT[what](run / file, victim)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        code, _, told = call(*command(verb, trained, run))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 500_000, file
        if code:
            assert code == (2 if (file, what) in MISTAKES else 4), (file, told)
            assert told.count("\n") == 1, (file, told)
            assert verb == "resume" or all(path.read_bytes() == data for path, data in before.items()), file
        else:
            assert (file, verb, what) not in NEEDED, file
        assert victim.read_text() == "precious"
        shutil.rmtree(run)


MISTAKES = {("spec.lock.toml", "nothing")}
"""What makes a folder no run at all."""

NEEDED = {
    (file, verb, what)
    for file in FILES
    for verb in READERS
    for what in PUT
    if not (verb == "diff" and file.startswith("checkpoints/") and "manifest" not in file)
    and not (file == "LATEST" and what in ("nothing", "foreign JSON"))
    and not (file == "metrics.jsonl" and (verb != "resume" or what in ("nothing", "foreign JSON")))
}
"""What a verb cannot do without; a damaged LATEST or a line of metrics costs a warning."""


OURS = [".lock", ".writer", "metrics.jsonl", "LATEST", ".LATEST.tmp", "report.html"]


@pytest.mark.parametrize("file", OURS)
def test_links_are_not_written_through(call, trained: Path, tmp_path: Path, file: str) -> None:
    victim, run = tmp_path / "victim", tiny.copy_run(trained / "run", tmp_path / "run")
    shutil.copy(trained / "tiny.toml", tmp_path)
    victim.write_bytes((run / file).read_bytes() if (run / file).exists() else b"precious")
    before = victim.read_bytes()
    (run / file).unlink(missing_ok=True)
    (run / file).symlink_to(victim)
    call("train", trained / "tiny.toml", "--out", run, "--resume")
    assert victim.read_bytes() == before


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("verb", ["eval", "generate", "resume"])
def test_a_whole_giant_of_another_spec_is_refused_unread(
    call, trained: Path, tmp_path: Path, file: str, verb: str
) -> None:
    run = tiny.copy_run(trained / "run", tmp_path / "run")
    header = json.dumps({"x": {"dtype": "F32", "shape": [GIANT], "data_offsets": [0, 4 * GIANT]}}).encode()
    checkpoint = run / "checkpoints" / "step-000008"
    (checkpoint / file).write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(checkpoint / file, 8 + len(header) + 4 * GIANT)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"][file]["size"] = 8 + len(header) + 4 * GIANT
    body = (manifest[key] for key in ("schema", "run", "step", "files"))
    (checkpoint / "manifest.json").write_bytes(sealed(*body))
    code, _, told = call(*command(verb, trained, run))
    assert code == 4
    assert told.count("\n") == 1
    assert f"{file}: is not of this run's spec" in told


def test_a_checkpoint_that_is_a_link_is_none(call, trained: Path, tmp_path: Path) -> None:
    run = tiny.copy_run(trained / "run", tmp_path / "run")
    (run / "checkpoints" / "step-000008").rename(tmp_path / "outside")
    (run / "checkpoints" / "step-000008").symlink_to(tmp_path / "outside")
    inside = sorted(path.name for path in (tmp_path / "outside").iterdir())
    call("train", trained / "tiny.toml", "--out", run, "--resume")
    assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == inside
