"""Text of your own: files, folders and glob patterns; the last part is held out, or files of their own."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs.validators import and_, gt, lt

from resnetbk.errors import UserError
from resnetbk.kinds import Text
from resnetbk_plugins.corpus.finding import copies, find, identity
from resnetbk_plugins.corpus.reading import and_more, read, warn
from resnetbk_plugins.corpus.unpacking import plain

HELD_OUT = 0.1
SHARE = and_(gt(0.0), lt(1.0))


def check_names(_owner: Any, attribute: Any, value: Any) -> None:
    names = listed(value)
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
        files = "file, folder or pattern"
        what = {"path": files, "valid": files, "patterns": "pattern"}.get(attribute.name, "name or pattern")
        raise ValueError(f"{attribute.name} must be a {what}, or a list of them, none empty")


def listed(names: str | list[str]) -> list[str]:
    """One name, or several, as a list."""
    return [names] if isinstance(names, str) else names


def check_either(held_out: float, valid: str | list[str]) -> None:
    """ValueError where both the end and `valid` are to be held out."""
    if valid and held_out != HELD_OUT:
        raise ValueError("held_out is a share of the end, and valid is held out instead of it: leave one out")


def check_sha256(_owner: Any, _attribute: Any, value: str) -> None:
    if value and (len(value) != 64 or set(value) - set("0123456789abcdef")):
        raise ValueError("sha256 must be 64 hexadecimal digits in lower case, or empty")


def check_apart(corpus: str, files: Sequence[Path], valid: Sequence[Path]) -> None:
    """UserError where files are to be learned from and held out."""
    learned = {identity(file) for file in files}
    both = [str(file) for file in valid if identity(file) in learned]
    if both:
        raise UserError(
            f"{corpus}: valid names {and_more(both)}, which path names too and so would be learned from; let "
            "path name only the other files"
        )


@attrs.frozen(kw_only=True)
class TextFiles:
    """UTF-8 files, in the order of their paths, as if they were one; its end is held out. Files `.gz` are
    unpacked.

    Each real file is read once, whatever links lead to it, and nothing but regular files. A byte order mark
    at the start of a file is dropped; all other bytes are text. A large text stays on disk: a single file
    where it is, several files joined in the cache. It must not change during a run.

    path      a file, a folder (all files in it and below, also through links, except hidden ones), or a
              pattern such as `notes/**/*.md`; several in a list. `~` is your home; relative to the working
              directory.
    patterns  which files of folders to take, by their names: `*.txt`, or a list such as
              `["*.txt", "*.md"]`; all if empty
    field     of each row what holds the text, if files are JSON lines or, by their names, `.parquet` (extra
              `parquet`); rows where it is null are left out, and the separator follows each other, or an
              empty line
    separator added after each of several files, such as `"\\u0000"`; data.documents needs one
    held_out  the share of bytes held out, at the end
    valid     what to hold out instead of the end: a file, folder or pattern, or a list of them, like `path`
    sha256    of the whole text, to learn from and then held out; if given, any other text is refused
    """

    path: str | list[str] = attrs.field(validator=check_names)
    patterns: str | list[str] = attrs.field(factory=list, validator=check_names)
    field: str = ""
    separator: str = ""
    held_out: float = attrs.field(default=HELD_OUT, validator=SHARE)
    valid: str | list[str] = attrs.field(factory=list, validator=check_names)
    sha256: str = attrs.field(default="", validator=check_sha256)

    def __attrs_post_init__(self) -> None:
        if not self.path:
            raise ValueError("path must be a file, folder or pattern, or a list of them, none empty")
        check_either(self.held_out, self.valid)

    def build(self) -> Text:
        """Raises UserError for missing files and unusable texts, StorageError for unreadable files."""
        patterns = listed(self.patterns)
        files, valid = (find("text", listed(names), patterns) for names in (self.path, self.valid))
        check_apart("text", files, valid)
        if again := [str(file) for file in copies(valid, files)]:
            warn(f"text: held out are copies of files that are learned from: {and_more(again)}")
        names = {
            plain("text", file, self.field, self.separator or "\n\n"): str(file) for file in (*files, *valid)
        }
        texts = list(names)
        held, after = texts[len(files) :], b"" if self.field else self.separator.encode()
        return split("text", texts[: len(files)], self.held_out, self.sha256, held, names, after)


def split(
    corpus: str,
    files: Sequence[Path],
    held_out: float,
    sha256: str,
    valid: Sequence[Path] = (),
    names: Mapping[Path, str] | None = None,
    separator: bytes = b"",
) -> Text:
    """UTF-8 files as one text, its end held out, or the files `valid` if there are any; says how much that
    is. `sha256`, if given, must be that of the whole; `names` are what to call files instead of their paths;
    `separator` follows each of several.

    Raises UserError for unusable texts, in the name of `corpus`, and StorageError.
    """
    train, digest = read(corpus, files, names, separator)
    if valid:
        held, _ = read(corpus, valid, names, separator)
        hashed = hashlib.sha256(train)
        hashed.update(held)
        digest = hashed.hexdigest()
    else:
        cut = int(len(train) * (1 - held_out))
        while cut < len(train) and train[cut] & 0xC0 == 0x80:  # inside a character
            cut += 1
        train, held = train[:cut], train[cut:]
    if sha256 and digest != sha256:
        raise UserError(f"{corpus}: sha256 of the text is {digest}, but the spec asks for {sha256}")
    if min(len(bytes(part[:8]).decode(errors="ignore")) for part in (train, held)) < 2:
        raise UserError(
            f"{corpus}: {len(train) + len(held)} bytes in {len(files) + len(valid)} file(s) are too short: "
            f"{len(train)} to learn from, {len(held)} held out, and both need 2 characters"
        )
    what = "valid" if valid else "the end"
    message = "%s: %s bytes to learn from, %s held out (%s)"
    logging.getLogger("resnetbk").info(message, corpus, f"{len(train):,}", f"{len(held):,}", what)
    return Text(train, held, digest)
