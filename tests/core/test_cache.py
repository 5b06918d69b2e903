"""What is in the cache is what was written there, or is written again."""

from __future__ import annotations

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
