"""What is no text in UTF-8 is refused, and what a model should hardly learn is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from resnetbk.errors import UserError
from resnetbk_plugins.corpus import reading
from resnetbk_plugins.corpus.text import TextFiles

LINES = "".join(f"line {i} of some plain wörds\n" for i in range(400))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    reading.warn.cache_clear()


def whole(path: str) -> bytes:
    text = TextFiles(path=path).build()
    return bytes(text.train) + bytes(text.valid)


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("length", [8, 400, len(LINES)])
def test_wide_characters_without_a_mark_are_refused(coding: str, length: int) -> None:
    Path("t.txt").write_bytes(LINES.replace("ö", "o")[:length].encode(coding))
    with pytest.raises(UserError) as caught:
        whole("t.txt")
    known = "UTF-16" + coding[-2:].upper()
    assert str(caught.value) == (
        "text: t.txt is full of zero bytes: binary, or UTF-16 without a mark; convert it, if it is text: "
        f"iconv -f {known} -t UTF-8"
    )


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_wide_characters_with_a_mark_are_refused(coding: str) -> None:
    Path("t.txt").write_bytes(f"\ufeff{LINES}".encode(coding))
    with pytest.raises(UserError, match=r"byte 0; convert it, if it is text: iconv -f UTF-16 -t UTF-8$"):
        whole("t.txt")


def test_one_other_file_in_a_folder_is_named_with_the_key_that_helps() -> None:
    os.mkdir("notes")
    Path("notes/a.txt").write_text(LINES, encoding="utf-8")
    for content, why in (
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not UTF-8 at byte 0 (it looks binary)"),
        (b"abc\0\0\0\0", "is full of zero bytes: .*"),
        (b"caf\xe9 noir", "is not UTF-8 at byte 3; convert it, if it is text: iconv -f LATIN1 -t UTF-8"),
    ):
        Path("notes/other").write_bytes(content)
        with pytest.raises(UserError, match="text: notes/other ") as caught:
            whole("notes")
        assert why.rstrip(".*") in str(caught.value)
        assert str(caught.value).endswith(", or leave it out: `patterns` names what to take from a folder")
    assert TextFiles(path="notes", patterns="*.txt").build().train


def test_a_few_zero_bytes_are_text() -> None:
    Path("t.txt").write_bytes(b"\0" + LINES.encode())
    assert whole("t.txt") == b"\0" + LINES.encode()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("path", ["notes", "notes/a.txt"])
def test_the_mark_of_utf8_is_no_letter(path: str, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir("notes")
    for name in ("a", "b"):
        Path(f"notes/{name}.txt").write_text(f"{name} \ufeff{LINES}", encoding="utf-8-sig")
    if large:
        monkeypatch.setattr(reading, "LARGE", 100)
    expected = f"a \ufeff{LINES}b \ufeff{LINES}" if path == "notes" else f"a \ufeff{LINES}"
    assert whole(path) == expected.encode()


def test_what_models_should_hardly_learn_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    os.mkdir("notes")
    for name in ("a", "b"):
        Path(f"notes/{name}.txt").write_bytes(b"one\r\ntwo\r\n" * 20)
    rows = [json.dumps({"id": f"{i}", "body": LINES[i : i + 40], "n": i}) for i in range(30)]
    Path("notes/c.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for _ in range(2):
        assert whole("notes").startswith(b"one\r\ntwo\r\n")
    assert [record.getMessage() for record in caplog.records] == [
        "text: carriage returns (\\r, line ends of Windows) in notes/a.txt and 1 more: the model learns "
        "them; `dos2unix` takes them out",
        "text: what looks like JSON lines in notes/c.jsonl: the model learns them as they stand; corpus = "
        '{ use = "text", path = "notes/c.jsonl", field = "body" } reads the field',
    ]


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        json.dumps({"text": LINES}, indent=1),
        "\n".join(str(i) for i in range(40)),
        '{"a": "one line"}\n' + LINES,
        "[" * 100_000 + "\n" + LINES,
    ],
)
def test_nothing_is_said_of_other_text(content: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("t.txt").write_text(content, encoding="utf-8")
    assert whole("t.txt")
    assert not caplog.records
