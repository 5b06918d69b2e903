"""The corpus `text` over compressed files, JSON lines and Parquet."""

from __future__ import annotations

import gzip
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from resnetbk.errors import ResnetbkError, StorageError, UserError
from resnetbk_plugins.corpus import reading
from resnetbk_plugins.corpus.text import TextFiles

ROWS = [f"row {i} of ünequal length{'!' * i}" for i in range(20)]
WHOLE = "".join(f"{row}\n\n" for row in ROWS).encode()
LINES = "".join(json.dumps({"id": "x", "body": row}) + "\n" for row in ROWS).encode()

needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="the extra parquet is not installed")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    reading.warn.cache_clear()


def whole(path: str | list[str], **keys: object) -> bytes:
    text = TextFiles(path=path, **keys).build()  # type: ignore[arg-type]
    return bytes(text.train) + bytes(text.valid)


def table(name: str, **columns: list[object]) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), name)


def test_gz_is_unpacked_beside_plain_files() -> None:
    Path("a.txt.gz").write_bytes(gzip.compress(b"first " + WHOLE, mtime=0))
    Path("b.txt").write_bytes(WHOLE)
    assert whole(["a.txt.gz", "b.txt"]) == b"first " + WHOLE + WHOLE
    text = TextFiles(path="b.txt", valid="a.txt.gz").build()
    assert (text.train, text.valid) == (WHOLE, b"first " + WHOLE)
    Path("a.txt.gz").write_bytes(gzip.compress(b"second " + WHOLE, mtime=0))  # another file now
    assert whole("a.txt.gz") == b"second " + WHOLE


def test_a_field_of_json_lines() -> None:
    Path("a.jsonl").write_bytes(LINES + b'\n{"body": null}\n')
    Path("b.json.gz").write_bytes(gzip.compress(LINES, mtime=0))
    assert whole(["a.jsonl", "b.json.gz"], field="body") == 2 * WHOLE
    assert whole("a.jsonl").startswith(b'{"id"')


@needs_pyarrow
def test_a_column_of_parquet() -> None:
    table("a.parquet", body=[*ROWS, None], n=[*range(20), None])
    assert whole("a.parquet", field="body") == WHOLE
    for field, message in (
        ("n", "has no column of text 'n'; allowed: body"),
        ("bdy", "has no column of text 'bdy'; did you mean 'body'?"),
        ("", "is a table: name a column by field; allowed: body"),
    ):
        with pytest.raises(UserError) as caught:
            whole("a.parquet", field=field)
        assert str(caught.value) == f"text: a.parquet {message}"
    Path("b.parquet").write_bytes(b"PAR1 is all it has")
    with pytest.raises(StorageError, match=r"^text: cannot read b\.parquet: Arrow"):
        whole("b.parquet", field="body")


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnetbk_plugins.corpus.unpacking.find_spec", lambda name: None)
    Path("a.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        UserError, match=r'^text: a\.parquet needs .* pyarrow: pip install "resnetbk\[parquet\]"$'
    ):
        whole("a.parquet", field="body")


@pytest.mark.parametrize(
    ("name", "content", "field", "message"),
    [
        (
            "a.jsonl",
            LINES + b"{\n",
            "body",
            "text: a.jsonl:21: no line of JSON, of which field = 'body' is to be",
        ),
        ("a.jsonl", LINES, "bdy", "text: a.jsonl:1: has no field 'bdy'; did you mean 'body'?"),
        ("a.jsonl", b'{"body": 3}', "body", "text: a.jsonl:1: field 'body' holds int, not text"),
        (
            "a.jsonl",
            b'{"body": "\\ud800"}',
            "body",
            "text: a.jsonl:1: field 'body' holds half of a surrogate",
        ),
        ("a.gz", b"no gzip", "", "text: cannot read a.gz: BadGzipFile"),
        ("a.gz", gzip.compress(WHOLE, mtime=0)[:-20], "", "text: cannot read a.gz: EOFError"),
        ("a.gz", gzip.compress(b"caf\xe9 noir", mtime=0), "", "text: a.gz is not UTF-8 at byte 3"),
    ],
)
def test_what_cannot_be_read_is_one_line(name: str, content: bytes, field: str, message: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(ResnetbkError) as caught:
        whole(name, field=field)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
