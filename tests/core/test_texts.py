"""Texts in pieces, files mapped, and what is kept in the cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetbk.cache import cache_folder, cached_file
from resnetbk.errors import StorageError
from resnetbk.texts import mapped, pieces


@given(st.text(alphabet="aé€𝄞\n"), st.integers(4, 9), st.booleans())
def test_pieces_are_the_text_cut_between_characters(text: str, size: int, view: bool) -> None:
    whole = text.encode()
    parts = list(pieces(memoryview(whole) if view else whole, size))
    assert "".join(piece.decode() for piece in parts) == text
    assert all(0 < len(piece) <= size for piece in parts)
    for piece in parts[:-1]:
        assert piece.endswith(b"\n") or (b"\n" not in piece and len(piece) > size - 4)


@given(st.binary(), st.integers(4, 9))
def test_pieces_of_what_is_no_utf8_are_whole_too(text: bytes, size: int) -> None:
    parts = list(pieces(text, size))
    assert b"".join(parts) == text
    assert all(0 < len(piece) <= size for piece in parts)


def test_a_mapped_file_is_its_bytes_and_read_only(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"some text")
    view = mapped(tmp_path / "x")
    assert (view.readonly, bytes(view[5:]), len(view)) == (True, b"text", 9)


def test_what_is_kept_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    writes = []

    def write(file: BinaryIO) -> None:
        writes.append(file.write(b"text"))

    paths = {cached_file("a/b", write) for _ in range(3)}
    assert paths == {cache_folder() / "a" / "b"}
    assert (paths.pop().read_bytes(), len(writes)) == (b"text", 1)


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path))

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_file("a/b", write)
    assert os.listdir(tmp_path / "a") == [".b.lock"]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file"), "~no-such-user-at-all/cache"):
        monkeypatch.setenv("RESNETBK_CACHE", place)
        with pytest.raises(
            StorageError, match=r"cannot write a/b to the cache \(.+\); RESNETBK_CACHE"
        ) as caught:
            cached_file("a/b", lambda file: file.write(b""))
        assert "\n" not in str(caught.value)
