"""Source code of the packages that are installed here: 100 MB and more on most machines, without a download.

Files are found through the metadata of installed distributions and read as bytes; nothing is imported or
run. Each is checked against the sha256 that its distribution's RECORD states. The text is written into the
cache once, named by those checksums, so that later runs read one file.

The text depends on what is installed, so losses are comparable only on the same; see the key `sha256`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import BinaryIO

import attrs

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError, UserError, nearest
from resnetbk.files import accessing
from resnetbk.kinds import Text
from resnetbk_plugins.corpus.reading import and_more, warn
from resnetbk_plugins.corpus.text import SHARE, check_names, check_sha256, listed, split

METHOD = 1  # part of every cache key: texts that were joined in another way are not used


@attrs.frozen
class Source:
    """A file of a distribution: its path and sha256 (base64, without padding) as RECORD states them."""

    owner: Distribution
    path: str
    sha256: str

    def read(self) -> bytes:
        """Raises StorageError for a file that is missing, or is not what was installed."""
        file = Path(str(self.owner.locate_file(self.path)))
        with accessing(file, "read"):
            content = file.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        if digest != self.sha256:
            name, version = self.owner.metadata["Name"], self.owner.version
            raise StorageError(
                f"packages: {file} has changed since {name} {version} was installed; install that again, or "
                f"leave it out: without = {name!r}"
            )
        return content


@attrs.frozen(kw_only=True)
class Packages:
    """The files of installed distributions, in the order of names and paths; whole files are held out, by the
    sha256 of their paths. Line ends become `\\n`, as Python reads them; a file that is there several times
    is read once, and what is not UTF-8 or has no sha256 in its RECORD is left out.

    names     distributions to read, such as `torch`, or patterns such as `jupyter*`, or a list of them; all
              if empty
    without   distributions to leave out of those, in the same form
    patterns  which files to take, by their names, such as `["*.py", "*.pyi"]`
    separator added after each file, such as `"\\u0000"`; data.documents needs one
    held_out  the share of files held out
    sha256    of the whole text, to learn from and then held out; if given, any other text is refused
    """

    names: str | list[str] = attrs.field(factory=list, validator=check_names)
    without: str | list[str] = attrs.field(factory=list, validator=check_names)
    patterns: str | list[str] = attrs.field(default="*.py", validator=check_names)
    separator: str = ""
    held_out: float = attrs.field(default=0.01, validator=SHARE)
    sha256: str = attrs.field(default="", validator=check_sha256)

    def __attrs_post_init__(self) -> None:
        if not self.patterns:
            raise ValueError('patterns must be a pattern such as "*.py", or a list of them, none empty')

    def build(self) -> Text:
        """Raises UserError for names that no distribution has, and where too little is left; StorageError
        for files that are not as they were installed."""
        sources = list(self._sources())
        if not sources:
            raise UserError(
                f"packages: no file in the RECORD of these distributions matches {self.patterns!r}"
            )
        parts: tuple[list[Source], list[Source]] = ([], [])
        for source in sources:
            parts[_is_below(self.held_out, source.path)].append(source)
        if not all(parts):
            learned, held = map(len, parts)
            raise UserError(
                f"packages: held_out = {self.held_out} gives {learned} files to learn from and {held} held "
                "out: change it, or read more packages"
            )
        train, valid = (_joined(part, self.separator) for part in parts)
        names = dict.fromkeys((train, valid), "the text")
        return split("packages", [train], self.held_out, self.sha256, [valid], names)

    def _sources(self) -> Iterator[Source]:
        """Each content once, under the first of its paths."""
        known: set[str] = set()
        for _, owner in sorted(self._chosen().items()):
            rows = csv.reader((owner.read_text("RECORD") or "").splitlines())
            named = sorted((row[0], row[1]) for row in rows if len(row) == 3)
            for path, checksum in named:
                method, _, sha256 = checksum.partition("=")
                name = path.rpartition("/")[2]
                wanted = any(fnmatchcase(name, pattern) for pattern in listed(self.patterns))
                if wanted and method == "sha256" and sha256 not in known:
                    known.add(sha256)
                    yield Source(owner, path, sha256)

    def _chosen(self) -> Mapping[str, Distribution]:
        """Distributions by their normalised names; of several of one name the first, which Python imports."""
        installed: dict[str, Distribution] = {}
        for owner in distributions():
            if name := owner.metadata["Name"]:
                installed.setdefault(normal(name), owner)
        unknown = [
            f"packages: {key} names no installed distribution {name!r}"
            f"{nearest(normal(name), installed, allowed=False)}"
            for key in ("names", "without")
            for name in listed(getattr(self, key))
            if not any(_matches([name])(each) for each in installed)
        ]
        if unknown:
            raise UserError(*unknown)
        taken, left_out = _matches(listed(self.names) or ["*"]), _matches(listed(self.without))
        return {name: owner for name, owner in installed.items() if taken(name) and not left_out(name)}


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it: `ruamel.yaml_clib` is `ruamel-yaml-clib`."""
    return re.sub("[-_.]+", "-", name).lower()


def _matches(patterns: list[str]) -> Callable[[str], bool]:
    return lambda name: any(fnmatchcase(name, normal(pattern)) for pattern in patterns)


def _is_below(share: float, path: str) -> bool:
    """Of many paths true for this share, and for each always the same."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) < share * 2**64


def _joined(sources: list[Source], separator: str) -> Path:
    """The text of the files, in the cache."""
    depends = [METHOD, separator, *((s.path, s.sha256) for s in sources)]
    key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    return cached_file(f"texts/packages-{key}", lambda file: _write(file, sources, separator.encode()))


def _write(file: BinaryIO, sources: list[Source], separator: bytes) -> None:
    others = []
    for source in sources:
        content = source.read()
        try:
            content.decode()
        except UnicodeDecodeError:
            others.append(source.path)
            continue
        lines = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        file.write((lines if lines.endswith(b"\n") or not lines else lines + b"\n") + separator)
    if others:
        warn(f"packages: left out files that are not UTF-8: {and_more(others)}")
