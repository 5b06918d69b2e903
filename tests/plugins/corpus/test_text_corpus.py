"""The corpus `text`: which files, where the cut falls, and what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetbk.errors import StorageError, UserError
from resnetbk_plugins.corpus.text import TextFiles


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """b.txt, a.md, sub/c.txt and a hidden file; the working directory is above them."""
    place = tmp_path / "notes"
    (place / "sub").mkdir(parents=True)
    (place / ".git").mkdir()
    (place / "b.txt").write_text("bbbb\n")
    (place / "a.md").write_text("aaaa\n")
    (place / "sub" / "c.txt").write_text("cccc\n")
    (place / ".hidden").write_bytes(b"\xff")
    (place / ".git" / "index").write_bytes(b"\xff")
    monkeypatch.chdir(tmp_path)
    return place


def whole(path: str | list[str]) -> bytes:
    text = TextFiles(path=path, held_out=0.5).build()
    assert text.sha256 == hashlib.sha256(text.train + text.valid).hexdigest()
    return text.train + text.valid


def test_the_split_of_tiny_shakespeare_is_nanogpts(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_bytes(b"x" * 1_115_394)
    text = TextFiles(path=str(tmp_path / "input.txt")).build()
    assert (len(text.train), len(text.valid)) == (1_003_854, 111_540)


def test_files_come_in_the_order_of_their_paths(folder: Path) -> None:
    everything = b"aaaa\nbbbb\ncccc\n"
    assert whole("notes") == everything
    assert whole(["notes/sub", "notes/b.txt", "notes/a.md"]) == everything
    assert whole(["notes", "notes/b.txt"]) == everything  # each file once
    assert whole("notes/**/*.txt") == b"bbbb\ncccc\n"
    assert whole(str(folder / "sub" / "c.txt")) == b"cccc\n"


def test_the_tilde_is_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert whole("~/a.md") == b"aaaa\n"


def test_a_name_with_brackets_is_a_name_first(folder: Path) -> None:
    (folder / "[x].txt").write_text("in brackets")
    assert whole("notes/[x].txt") == b"in brackets"


@given(
    st.text(min_size=40, alphabet=st.characters(codec="utf-8", exclude_characters="\0\ufeff")),
    st.floats(0.1, 0.8),
)
def test_the_cut_never_splits_a_character(
    tmp_path_factory: pytest.TempPathFactory, text: str, share: float
) -> None:
    path = tmp_path_factory.mktemp("cut") / "text"
    path.write_bytes(text.encode())
    built = TextFiles(path=str(path), held_out=share).build()
    assert built.train.decode() + built.valid.decode() == text
    behind = len(built.train) - int(len(text.encode()) * (1 - share))
    assert 0 <= behind <= 3


def test_the_pin_is_kept(folder: Path) -> None:
    right = hashlib.sha256(b"aaaa\n").hexdigest()
    assert TextFiles(path="notes/a.md", held_out=0.5, sha256=right).build().sha256 == right
    other = "0" * 64
    with pytest.raises(UserError) as caught:
        TextFiles(path="notes/a.md", sha256=other).build()
    assert right in str(caught.value)
    assert other in str(caught.value)


def test_patterns_choose_by_name_within_folders(folder: Path) -> None:
    (folder / "picture.png").write_bytes(b"\x89PNG\0")
    text = TextFiles(path=["notes", "notes/a.md"], patterns="*.txt", held_out=0.5).build()
    assert text.train + text.valid == b"aaaa\nbbbb\ncccc\n"
    assert TextFiles(path="notes", patterns=["*.md", "c.*"], held_out=0.5).build().train == b"aaaa\n"
    with pytest.raises(UserError, match=r"'notes' holds no files that match patterns = \['\*\.rst'\]"):
        TextFiles(path="notes", patterns="*.rst").build()


def test_files_of_their_own_are_held_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "resnetbk")
    text = TextFiles(path="notes/*", valid=["notes/sub"]).build()
    assert (text.train, text.valid) == (b"aaaa\nbbbb\n", b"cccc\n")
    assert text.sha256 == hashlib.sha256(b"aaaa\nbbbb\ncccc\n").hexdigest()
    assert TextFiles(path="notes/*", valid=["notes/sub"], sha256=text.sha256).build().valid == text.valid
    assert "text: 10 bytes to learn from, 5 held out (valid)" in caplog.text
    assert TextFiles(path="notes", held_out=0.5).build()
    assert "text: 7 bytes to learn from, 8 held out (the end)" in caplog.text


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_is_learned_from_cannot_be_held_out_too(folder: Path, link: Callable[..., None]) -> None:
    link(folder / "b.txt", folder.parent / "held.txt")
    with pytest.raises(UserError) as caught:
        TextFiles(path="notes", valid="held.txt").build()
    assert str(caught.value) == (
        "text: valid names held.txt, which path names too and so would be learned from; let path name only "
        "the other files"
    )


def test_a_copy_of_what_is_learned_from_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    held = folder.parent / "held"
    held.mkdir()
    shutil.copyfile(folder / "b.txt", held / "copy.txt")
    (held / "other.txt").write_text("bbbx\n")  # of the same size
    for empty in (folder / "empty.txt", held / "empty.txt"):
        empty.touch()
    TextFiles(path="notes", valid="held").build()
    told = [message for message in caplog.messages if "copies" in message]
    assert told == ["text: held out are copies of files that are learned from: held/copy.txt"]


def test_every_missing_path_is_named_at_once(folder: Path) -> None:
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(UserError) as caught:
        TextFiles(path=["notes", "nowhere", "*.rst", "notes/empty", "notes/pipe"]).build()
    assert str(caught.value).split("\n") == [
        "text: there is no file or folder 'nowhere'",
        "text: no file matches '*.rst'",
        "text: the folder 'notes/empty' holds no files",
        "text: 'notes/pipe' is neither a file nor a folder",
    ]


@pytest.mark.parametrize("content", ["", "a", "abc", "\u00e9\u00e9"])
def test_too_little_text_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "short").write_bytes(content.encode())
    with pytest.raises(UserError, match=f"{len(content.encode())} bytes in 1 file"):
        TextFiles(path=str(tmp_path / "short"), held_out=0.5).build()


def test_a_file_that_cannot_be_read_is_a_storage_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> BinaryIO:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"cannot read notes/a\.md: Permission denied"):
        TextFiles(path="notes/a.md").build()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path": ""}, "path must be"),
        ({"path": []}, "path must be"),
        ({"path": ["a", ""]}, "path must be"),
        ({"path": "a", "valid": ""}, "valid must be"),
        ({"path": "a", "patterns": ["*.txt", ""]}, "patterns must be a pattern"),
        ({"path": "a", "held_out": 0.2, "valid": "b"}, "leave one out"),
        ({"path": "a", "held_out": 0.0}, "'held_out' must be"),
        ({"path": "a", "held_out": 1.0}, "'held_out' must be"),
        ({"path": "a", "held_out": float("nan")}, "'held_out' must be"),
        ({"path": "a", "sha256": "abc"}, "sha256 must be"),
        ({"path": "a", "sha256": "A" * 64}, "sha256 must be"),
    ],
)
def test_keys_are_checked(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextFiles(**keys)  # type: ignore[arg-type]
