"""The corpus `hf`, offline: local files of every format, limits, the cache, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from resnetbk.cache import cache_folder
from resnetbk.errors import StorageError, UserError
from resnetbk_plugins.corpus import hf, reading
from resnetbk_plugins.corpus.hf import HuggingFace

ROWS = [f"row {i} of ünequal length{'!' * i}" for i in range(20)]
WHOLE = "".join(f"{row}\n\n" for row in ROWS).encode()

needs_datasets = pytest.mark.skipif(find_spec("datasets") is None, reason="the extra hf is not installed")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One data set in three formats, in a working directory; no network, and caches of the test's own."""
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    if find_spec("datasets") is not None:
        import datasets

        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "prepared"))
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    lines = [json.dumps({"text": row, "n": i, "part": [row]}) for i, row in enumerate(ROWS)]
    Path("rows.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with open("rows.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "n"], *([row, i] for i, row in enumerate(ROWS))])
    Path("rows.txt").write_text("\n".join(ROWS) + "\n", encoding="utf-8")
    return place


def whole(**keys: object) -> bytes:
    text = HuggingFace(**keys).build()  # type: ignore[arg-type]
    both = bytes(text.train) + bytes(text.valid)
    assert text.sha256 == hashlib.sha256(both).hexdigest()
    return both


@needs_datasets
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("form", ["json", "csv", "text"])
def test_local_files(form: str, streaming: bool) -> None:
    extension = {"text": "txt"}.get(form, form)
    assert whole(path=form, files=f"rows.{extension}", streaming=streaming) == WHOLE
    assert whole(path=form, files=[f"*.{extension}"], streaming=streaming) == WHOLE


@needs_datasets
def test_parquet_and_a_local_folder(here: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (here / "set").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"body": [*ROWS, None]}), "set/train.parquet")
    assert whole(path="parquet", files="set/train.parquet", field="body") == WHOLE
    assert whole(path="set", field="body") == WHOLE


@needs_datasets
def test_lines_come_back_as_they_stood() -> None:
    assert whole(path="text", files="rows.txt", separator="\n") == Path("rows.txt").read_bytes()


@needs_datasets
def test_a_part_of_a_split_and_a_limit_in_bytes() -> None:
    part = whole(path="json", files="rows.json", streaming=False, split="train[:5]")
    assert part == "".join(f"{row}\n\n" for row in ROWS[:5]).encode()
    start = WHOLE.index("ü".encode())
    for limit in (start - 1, start, start + 1, start + 2, 100, len(WHOLE), len(WHOLE) + 1):
        taken = whole(path="json", files="rows.json", limit=limit, held_out=0.5)
        assert taken == WHOLE[: limit - (limit == start + 1)]


@needs_datasets
def test_the_end_is_held_out_and_the_pin_is_kept() -> None:
    sha256 = hashlib.sha256(WHOLE).hexdigest()
    text = HuggingFace(path="json", files="rows.json", held_out=0.25, sha256=sha256).build()
    assert len(text.train) == pytest.approx(0.75 * len(WHOLE), abs=4)
    with pytest.raises(UserError, match=f"hf: sha256 of the text is {sha256}, but the spec asks for 000"):
        HuggingFace(path="json", files="rows.json", sha256="0" * 64).build()


@needs_datasets
def test_it_is_read_once_and_again_when_a_file_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert whole(path="text", files="rows.txt") == WHOLE
    monkeypatch.setattr(hf, "find_spec", lambda name: None)
    assert whole(path="text", files="rows.txt") == WHOLE
    assert len(list((cache_folder() / "texts").glob("*.sha256"))) == 1
    monkeypatch.undo()


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        HuggingFace(path="text", files="rows.txt").build()
    assert str(caught.value) == 'hf: needs the package datasets: pip install "resnetbk[hf]"'


@needs_datasets
def test_a_changed_file_is_read_again() -> None:
    whole(path="text", files="rows.txt")
    Path("rows.txt").write_text("other text altogether\n", encoding="utf-8")
    assert whole(path="text", files="rows.txt") == b"other text altogether\n\n"


@needs_datasets
@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"field": "txt"}, UserError, "'json' has no column 'txt'; allowed: n, part, text$"),
        ({"field": "n"}, UserError, "column 'n' of 'json' holds int, not text$"),
        ({"split": "test"}, UserError, "cannot read 'json': ValueError: Bad split: test"),
        ({"files": "nowhere.json"}, UserError, "cannot read 'json': FileNotFoundError"),
        ({"path": "no-such-set", "files": []}, StorageError, "cannot read 'no-such-set': ConnectionError"),
    ],
)
def test_what_is_not_there_is_one_line(keys: dict[str, str], error: type, message: str) -> None:
    with pytest.raises(error, match=f"hf: {message}") as caught:
        HuggingFace(**{"path": "json", "files": "rows.json", **keys}).build()
    assert "\n" not in str(caught.value)
    assert not [path for path in cache_folder().glob("texts/*") if path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path": ""}, "path"),
        ({"path": "json"}, "files must name what to read as json"),
        ({"path": "x", "files": [""]}, "files must be"),
        ({"path": "x", "limit": -1}, "limit"),
        ({"path": "x", "held_out": 1.0}, "'held_out' must be"),
        ({"path": "x", "held_out": 0.2, "valid": "validation"}, "leave one out"),
        ({"path": "x", "valid": "train[90%:]"}, "valid must not be in split"),
        ({"path": "x", "sha256": "abc"}, "sha256 must be"),
    ],
)
def test_keys_are_checked(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HuggingFace(**keys)  # type: ignore[arg-type]


@needs_datasets
def test_each_file_is_read_once_and_under_any_name(here: Path) -> None:
    os.rename("rows.json", "rows[1].json")
    os.link("rows[1].json", "again.json")
    os.symlink("rows[1].json", "linked.json")
    os.symlink(".", "around")
    assert whole(path="json", files=["*.json", "linked.json"]) == WHOLE
    assert whole(path="json", files="**/rows*.json") == WHOLE
    os.utime("rows[1].json", ns=(1, 1))
    assert whole(path="json", files="rows[[]1].json") == WHOLE
    assert len(list((cache_folder() / "texts").glob("*.sha256"))) == 3
    Path("first.json").write_text(json.dumps({"text": "first"}), encoding="utf-8")
    assert whole(path="json", files=["rows*.json", "first.json"]) == WHOLE + b"first\n\n"


def test_a_pipe_is_refused(here: Path) -> None:
    os.mkfifo("pipe")
    with pytest.raises(UserError, match="hf: 'pipe' is neither a file nor a folder"):
        HuggingFace(path="json", files="pipe").build()


@needs_datasets
def test_another_split_is_held_out() -> None:
    text = HuggingFace(
        path="json", files="rows.json", streaming=False, split="train[:15]", valid="train[15:]"
    ).build()
    assert (text.train + text.valid, text.valid.count(b"row ")) == (WHOLE, 5)
    assert text.sha256 == hashlib.sha256(WHOLE).hexdigest()


@needs_datasets
def test_what_is_no_text_is_told_as_in_files_of_text(caplog: pytest.LogCaptureFixture) -> None:
    reading.warn.cache_clear()
    whole(path="text", files="rows.json")
    assert "hf: what looks like JSON lines in rows.json:" in caplog.text
    assert 'path = "rows.json", field = "text" } reads the field' in caplog.text
    Path("rows.txt").write_bytes("wide".encode("utf-16-le") * 9)
    with pytest.raises(UserError, match=r"hf: rows\.txt is full of zero bytes"):
        whole(path="text", files="rows.txt")
