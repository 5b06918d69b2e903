"""The run folder: begun once, trained in by one, and its metrics whole after any crash."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnetbk.errors import StorageError, UserError
from resnetbk.files import replace_file
from resnetbk.runs.run_folder import RunFolder


def run_at(path: Path) -> RunFolder:
    folder = RunFolder.create(path)
    folder.write_lock("seed = 0\n")
    return folder


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- beginning and opening


def test_a_new_folder_is_made_with_its_parents_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path / "a" / "b").path.is_dir()
    assert RunFolder.create(tmp_path / "a" / "b").path == tmp_path / "a" / "b"


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    run_at(tmp_path / "x")
    with pytest.raises(UserError) as error:
        RunFolder.create(tmp_path / "x")
    assert "--resume" in one_line(error)
    assert "--out" in one_line(error)
    assert RunFolder.open(tmp_path / "x").spec_lock.read_text().endswith("\nseed = 0\n")


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="--out"):
            RunFolder.create(path)


def test_fresh_never_gives_a_folder_twice_and_newest_gives_the_last(tmp_path: Path) -> None:
    made = [RunFolder.fresh(tmp_path / "runs", "x") for _ in range(11)]
    assert [folder.path.name for folder in made[:3]] == ["x", "x-2", "x-3"]
    assert made[10].path.name == "x-11"
    for folder in made[:10]:
        folder.write_lock('[spec]\nname = "x"\n')
    assert RunFolder.newest(tmp_path / "runs", "x") == made[9]  # x-11 was never begun
    made[1].path.joinpath("spec.lock.toml").unlink()
    made[1].path.rmdir()
    assert RunFolder.fresh(tmp_path / "runs", "x").path.name == "x-12"  # so that the newest is the last made


def test_fresh_leaves_other_names_alone(tmp_path: Path) -> None:
    for name in ("x-large", "xy", "x-1", "x-02"):
        run_at(tmp_path / name)
    assert RunFolder.fresh(tmp_path, "x").path.name == "x"
    with pytest.raises(UserError, match="no such run"):
        RunFolder.newest(tmp_path, "y")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a"])
def test_fresh_refuses_a_name_that_is_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as error:
        RunFolder.fresh(tmp_path, name)
    one_line(error)


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    run_at(tmp_path / "shakespeare")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no such run; did you mean 'shakespeare'\?"):
        RunFolder.open(tmp_path / "shakespear")
    with pytest.raises(UserError, match=r"is not a run \(it has no spec\.lock\.toml\)"):
        RunFolder.open(tmp_path / "empty")
    (tmp_path / "x.toml").write_text("")
    with pytest.raises(UserError) as error:
        RunFolder.open(tmp_path / "x.toml")
    made = f"from a spec, `resnetbk train {tmp_path}/x.toml` makes one"
    assert one_line(error) == f"{tmp_path}/x.toml: is a file; a run is a folder; {made}"
    with pytest.raises(UserError, match=r"spec\.lock\.toml: is a file; a run is a folder$"):
        RunFolder.open(tmp_path / "shakespeare" / "spec.lock.toml")


def test_a_run_that_never_began_is_discarded_and_a_trained_one_is_not(tmp_path: Path) -> None:
    folder = run_at(tmp_path / "x")
    with folder.writing():
        folder.checkpoints.mkdir()
        folder.discard()
        assert folder.path.exists()
        folder.checkpoints.rmdir()
        folder.discard()
        assert not folder.path.exists()
    folder.discard()  # and what is gone is gone


def test_reading_a_run_needs_no_torch() -> None:
    code = "import sys, resnetbk.runs.run_folder; sys.exit('torch' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


# ---------------------------------------------------------------- one writer


def test_two_writers_are_refused(tmp_path: Path) -> None:
    folder = run_at(tmp_path / "x")
    with folder.writing():
        with pytest.raises(UserError) as error, RunFolder.open(folder.path).writing():
            pass
        assert f"another process ({os.getpid()}) is training here" in one_line(error)
    with folder.writing():
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    folder = run_at(tmp_path / "x")
    code = (
        "import sys, pathlib; from resnetbk.runs.run_folder import RunFolder\n"
        "with RunFolder(pathlib.Path(sys.argv[1])).writing(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=str(other.pid)), folder.writing():
            pass
        other.kill()
        other.wait()
        with folder.writing():
            pass


def test_what_goes_wrong_in_training_is_not_blamed_on_the_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), run_at(tmp_path / "x").writing():
        (tmp_path / "absent").read_text()


# ---------------------------------------------------------------- metrics


def test_metrics_come_back_as_they_went(tmp_path: Path) -> None:
    folder = run_at(tmp_path / "x")
    assert folder.metrics() == []
    records = [
        {"step": 1, "loss": 0.1 + 0.2, "rows": [1.0, math.inf, -math.inf], "note": "a\nb é"},
        {"step": 2, "loss": 1e-300, "penalties": {"ponder": math.inf}},
    ]
    for record in records:
        folder.append_metrics(record)
    assert folder.metrics() == records
    folder.append_metrics({"loss": math.nan})
    assert math.isnan(folder.metrics()[2]["loss"])
    for line in folder.metrics_file.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # no NaN outside of strings


def test_a_line_cut_off_by_a_crash_is_left_out_and_then_written_over(tmp_path: Path) -> None:
    folder = run_at(tmp_path / "x")
    folder.append_metrics({"step": 1})
    whole = folder.metrics_file.read_bytes()
    for torn in (b"{", b'{"step": 2}', b"\x00\x00", b"\xff"):
        folder.metrics_file.write_bytes(whole + torn)
        assert folder.metrics() == [{"step": 1}]
        folder.append_metrics({"step": 2})
        assert folder.metrics() == [{"step": 1}, {"step": 2}]
    folder.metrics_file.write_bytes(b'{"ste')
    folder.append_metrics({"step": 1})
    assert folder.metrics_file.read_bytes() == whole


@pytest.mark.parametrize("bad", [b"{", b"7", b"\xff\xfe", b'{"step": 2}\r{"step": 3'])
def test_a_damaged_line_is_named(tmp_path: Path, bad: bytes) -> None:
    folder = run_at(tmp_path / "x")
    folder.append_metrics({"step": 1})
    with open(folder.metrics_file, "ab") as file:
        file.write(bad + b"\n")
    folder.append_metrics({"step": 4})
    with pytest.raises(StorageError, match=r"metrics\.jsonl:2: damaged"):
        folder.metrics()
    folder.rewind(9)
    assert folder.metrics() == [{"step": 1}, {"step": 4}]


def test_rewinding_makes_the_file_what_it_was(tmp_path: Path) -> None:
    folder = run_at(tmp_path / "x")
    folder.append_metrics({"event": "begun"})
    for step in range(1, 6):
        folder.append_metrics({"step": step, "loss": math.inf})
        if step == 3:
            then = folder.metrics_file.read_bytes()
    with folder.metrics_file.open("ab") as file:
        file.write(b'{"step": 6, "lo')
    folder.rewind(3)
    assert folder.metrics_file.read_bytes() == then
    folder.rewind(3)
    assert folder.metrics_file.read_bytes() == then
    assert not list(folder.path.glob("*.tmp"))
    RunFolder.create(tmp_path / "new").rewind(0)
    assert not (tmp_path / "new" / "metrics.jsonl").exists()


# ---------------------------------------------------------------- a disk that refuses


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    folder = run_at(tmp_path / "x")
    monkeypatch.setattr(os, function, full_disk)
    with pytest.raises(StorageError) as error:
        folder.write_lock("seed = 1\n")
    assert one_line(error) == f"{folder.spec_lock}: cannot be written (No space left on device)"
    assert folder.spec_lock.read_text().endswith("\nseed = 0\n")
    assert [path.name for path in folder.path.iterdir()] == ["spec.lock.toml"]


def test_a_folder_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "gone")
    for act in (
        lambda: folder.append_metrics({"step": 1}),
        lambda: folder.write_lock(""),
        lambda: folder.writing().__enter__(),
        lambda: replace_file(folder.path / "a", b""),
    ):
        with pytest.raises(StorageError) as error:
            act()
        assert "cannot be written" in one_line(error)
