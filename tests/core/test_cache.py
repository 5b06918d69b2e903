"""What is in the cache is what was written there, or is written again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from resnetbk.cache import cache_folder, cached_file


@pytest.fixture
def times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fetches `a/b`, and says how often it was written so far."""
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    written = []

    def fetch() -> int:
        def write(file) -> None:
            written.append(1)
            file.write(b"what is expensive")

        assert cached_file("a/b", write).read_bytes() == b"what is expensive"
        return len(written)

    return fetch


def test_it_is_written_once(times) -> None:
    assert [times(), times()] == [1, 1]


@pytest.mark.parametrize("name", ["b", "b.sha256"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "link"])
def test_damage_is_written_again(times, tmp_path: Path, name: str, damage: str) -> None:
    times()
    file = cache_folder() / "a" / name
    data = file.read_bytes()
    file.unlink()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    if damage == "flip":
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif damage == "cut":
        file.write_bytes(data[:-1])
    elif damage == "link":
        file.symlink_to(victim)
    assert [times(), times()] == [2, 2]
    assert victim.read_bytes() == b"precious"


def test_of_several_that_want_it_one_writes_and_the_others_wait(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    begun, may_end, written, read = threading.Event(), threading.Event(), [], []

    def write(file) -> None:
        written.append(1)
        begun.set()
        may_end.wait(10)
        file.write(b"whole")

    def fetch() -> None:
        read.append(cached_file("a/b", write).read_bytes())

    first, second = threading.Thread(target=fetch), threading.Thread(target=fetch)
    first.start()
    assert begun.wait(10)
    second.start()
    second.join(0.2)
    assert not read
    may_end.set()
    first.join()
    second.join()
    assert (read, written) == ([b"whole"] * 2, [1])


def test_what_could_not_be_written_is_written_by_the_next(tmp_path, monkeypatch, times) -> None:
    def fail(file) -> None:
        raise ValueError("no text")

    with pytest.raises(ValueError, match="no text"):
        cached_file("a/b", fail)
    assert times() == 1
