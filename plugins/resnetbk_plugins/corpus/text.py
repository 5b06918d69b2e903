"""Text of your own: files, folders and glob patterns; the last part is held out."""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs
from attrs.validators import and_, gt, lt

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError, UserError
from resnetbk.kinds import Text
from resnetbk.texts import LARGE, PIECE, mapped

HELD_OUT = and_(gt(0.0), lt(1.0))


def _check_path(_owner: Any, _attribute: Any, value: Any) -> None:
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, (list, tuple)) or not paths or not all(isinstance(p, str) and p for p in paths):
        raise ValueError("path must be a file, folder or pattern, or a list of them, none empty")


def check_sha256(_owner: Any, _attribute: Any, value: str) -> None:
    if value and (len(value) != 64 or set(value) - set("0123456789abcdef")):
        raise ValueError("sha256 must be 64 hexadecimal digits in lower case, or empty")


@attrs.frozen(kw_only=True)
class TextFiles:
    """UTF-8 files, in the order of their paths, as if they were one; its end is held out.

    A large text stays on disk: a single file where it is, several files joined in the cache. It must not
    change during a run.

    path      a file, a folder (all files in it and below, except hidden ones), or a pattern such as
              `notes/**/*.md`; several in a list. `~` is your home; relative to the working directory.
    held_out  the share of bytes held out
    sha256    of the whole text; if given, any other text is refused
    """

    path: str | list[str] = attrs.field(validator=_check_path)
    held_out: float = attrs.field(default=0.1, validator=HELD_OUT)
    sha256: str = attrs.field(default="", validator=check_sha256)

    def build(self) -> Text:
        """Raises UserError for missing files and unusable texts, StorageError for unreadable files."""
        return split("text", self._files(), self.held_out, self.sha256)

    def _files(self) -> list[Path]:
        paths = [self.path] if isinstance(self.path, str) else self.path
        matches = {path: _expand(path) for path in paths}
        missing = [path for path in paths if not matches[path]]
        if missing:
            raise UserError(*(f"text: {_complaint(path)}" for path in missing))
        return sorted({file for files in matches.values() for file in files}, key=Path.as_posix)


def _expand(path: str) -> list[Path]:
    """The files that a path names; none if it names none."""
    expanded = os.path.expanduser(path)
    if os.path.isfile(expanded):
        return [Path(expanded)]
    if not os.path.isdir(expanded):
        return [Path(name) for name in glob.glob(expanded, recursive=True) if os.path.isfile(name)]
    files: list[Path] = []
    for folder, folders, names in os.walk(expanded, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    return [file for file in files if file.is_file()]


def _complaint(path: str) -> str:
    expanded = os.path.expanduser(path)
    if os.path.isdir(expanded):
        return f"the folder {path!r} holds no files"
    if glob.has_magic(expanded):
        return f"no file matches {path!r}"
    if os.path.exists(expanded):
        return f"{path!r} is neither a file nor a folder"
    return f"there is no file or folder {path!r}"


def split(corpus: str, files: Sequence[Path], held_out: float, sha256: str) -> Text:
    """UTF-8 files as one text, cut in two between characters; `sha256`, if given, must be that of the whole.

    Raises UserError for unusable texts, in the name of `corpus`, and StorageError.
    """
    whole, digest = _whole(corpus, files)
    if sha256 and digest != sha256:
        raise UserError(f"{corpus}: sha256 of the text is {digest}, but the spec asks for {sha256}")
    cut = int(len(whole) * (1 - held_out))
    while cut < len(whole) and whole[cut] & 0xC0 == 0x80:  # inside a character
        cut += 1
    train, valid = whole[:cut], whole[cut:]
    if min(len(bytes(part[:8]).decode(errors="ignore")) for part in (train, valid)) < 2:
        raise UserError(
            f"{corpus}: {len(whole)} bytes in {len(files)} file(s) are too short: "
            f"{len(train)} to learn from, {len(valid)} held out, and both need 2 characters"
        )
    return Text(train, valid, digest)


def _whole(corpus: str, files: Sequence[Path]) -> tuple[bytes | memoryview, str]:
    """The text of the files, in memory or mapped when it is large, and its sha256."""
    try:
        size = sum(file.stat().st_size for file in files)
    except OSError as error:
        _refuse(error, corpus)
    read = (chunk for file in files for chunk in _chunks(corpus, file))
    if size <= LARGE:
        text = b"".join(read)
        return text, hashlib.sha256(text).hexdigest()
    hashed = hashlib.sha256()
    for chunk in read:
        hashed.update(chunk)
    digest = hashed.hexdigest()
    if len(files) == 1:
        return mapped(files[0]), digest
    again = (chunk for file in files for chunk in _chunks(corpus, file))
    return mapped(cached_file(f"texts/{digest}", lambda joined: joined.writelines(again))), digest


def _chunks(corpus: str, file: Path) -> Iterator[bytes]:
    """The content of a file, `PIECE` bytes at a time, checked to be UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = 0  # bytes of the file that are decoded
    try:
        with file.open("rb") as opened:
            while True:
                chunk = opened.read(PIECE)
                undecoded = len(decoder.getstate()[0])
                decoder.decode(chunk, final=not chunk)
                if not chunk:
                    return
                yield chunk
                before += len(chunk)
    except OSError as error:
        _refuse(error, corpus)
    except UnicodeDecodeError as error:
        place = before - undecoded + error.start
        raise UserError(f"{corpus}: {file} is not UTF-8 at byte {place}") from error


def _refuse(error: OSError, corpus: str = "text") -> NoReturn:
    raise StorageError(f"{corpus}: cannot read {error.filename}: {error.strerror}") from error
