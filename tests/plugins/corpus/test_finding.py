"""Which files are read: each real file once, through any links, and nothing but files."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from resnetbk_plugins.corpus.finding import expand, find
from resnetbk_plugins.corpus.reading import warn


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a.txt, b/c.txt, b/d/e.txt; the working directory is there, and nothing has been said yet."""
    (tmp_path / "b" / "d").mkdir(parents=True)
    for name in ("a.txt", "b/c.txt", "b/d/e.txt"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    warn.cache_clear()
    return tmp_path


ALL = ["a.txt", "b/c.txt", "b/d/e.txt"]
EVERYTHING = [".", "**", "**/*", "**/*.txt", ["a.txt", "b"], ["*", "*/*", "*/*/*"]]


def names(path: str | list[str]) -> list[str]:
    return [file.as_posix() for file in find("text", [path] if isinstance(path, str) else path)]


@pytest.mark.parametrize("path", EVERYTHING)
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_file_of_two_names_is_read_once_and_said(
    path: str | list[str], link: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(link)
    link(os.path.abspath("b/c.txt"), "b/z.txt")
    for _ in range(2):
        assert names(path) == ALL
    assert [r.getMessage() for r in caplog.records] == [
        "text: left out links to files that are read already: b/z.txt"
    ]


def test_of_a_file_and_links_to_it_the_file_is_read() -> None:
    os.symlink("b/c.txt", "0.txt")
    assert names(".") == ALL
    assert names("0.txt") == ["0.txt"]


@pytest.mark.parametrize("path", EVERYTHING)
def test_links_that_go_round_in_circles_end(path: str | list[str]) -> None:
    for number in range(12):  # by all their routes, these would take years
        os.symlink(os.path.abspath("."), f"b/{number}")
        os.symlink("../..", f"b/d/{number}")
    os.symlink("itself", "itself")
    assert names(path) == ALL


def test_a_link_back_up_leads_to_nothing_else() -> None:
    os.symlink("../..", "b/d/up")
    for path in ("b", "b/**"):
        assert names(path) == ["b/c.txt", "b/d/e.txt"]


def test_a_linked_folder_is_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "f.txt").write_text("f")
    os.symlink(elsewhere, "0")
    for path in (".", "**/*.txt"):
        assert names(path) == ["0/f.txt", *ALL]


@pytest.mark.parametrize("path", EVERYTHING)
def test_pipes_and_links_to_nothing_are_left_out_and_said(
    path: str | list[str], caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo("b/pipe.txt")
    os.symlink("nowhere", "b/broken.txt")
    assert names(path) == ALL
    (line,) = [r.getMessage() for r in caplog.records]
    assert line == "text: left out what is no regular file: b/broken.txt and 1 more"


@pytest.mark.parametrize(
    "pattern", ["**", "**/*", "b/**", "b/**/*.txt", "**/d/*", "*/**/e*", "**/.h*", "[ab]*/**", "**/**/c.txt"]
)
def test_patterns_match_what_they_do_in_glob(pattern: str, here: Path) -> None:
    Path(".hidden").write_text("")
    Path("b/.h").mkdir()
    for pre in ("", "./", f"{here}/"):
        ours, theirs = (
            {os.path.normpath(name) for name in names if os.path.isfile(name)}
            for names in (expand(pre + pattern), glob.glob(pre + pattern, recursive=True))
        )
        assert ours == theirs
