"""A data set read by Hugging Face `datasets` (extra `hf`): from files of your own, or from the hub.

The text of its rows is written into the cache once and read from there, so that later runs need neither the
network nor the library. The cached copy is identified by the keys and, for local files, by their sizes and
modification times; `revision` and `sha256` pin what may change elsewhere.
"""

from __future__ import annotations

import glob
import hashlib
import importlib
import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import attrs
from attrs.validators import ge, min_len

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError, UserError, one_line
from resnetbk.kinds import Text
from resnetbk_plugins.corpus.finding import expand, find, state
from resnetbk_plugins.corpus.reading import and_more
from resnetbk_plugins.corpus.text import (
    HELD_OUT,
    SHARE,
    check_either,
    check_sha256,
    listed,
    split,
)

FORMATS = ("csv", "json", "parquet", "text")


def _check_files(_owner: Any, _attribute: Any, value: Any) -> None:
    if not isinstance(value, (str, list, tuple)) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("files must be a file or pattern, or a list of them, none empty")


@attrs.frozen(kw_only=True)
class HuggingFace:
    """The text of a data set's rows, joined, with a separator after each; the end is held out.

    path       a data set on the hub, a local folder of one, or csv, json, parquet or text
    files      what to read, where `path` is such a format: a file or pattern, or a list of them
    config     which of a data set's configurations, where it has several
    split      a data set's split, such as `train`, also a part of it (`train[:10%]`) when not streaming
    field      the column that holds the text; rows where it is null are left out
    separator  added after the text of each row
    streaming  read row by row, up to `limit`; otherwise the library first downloads and prepares all of it
    limit      bytes of text to read of each split, 0 for all; the last row may be cut
    revision   of a data set on the hub: a commit, tag or branch
    held_out   the share of bytes held out, at the end
    valid      a split held out instead of the end, such as `validation`
    sha256     of the whole text, to learn from and then held out; if given, any other text is refused
    """

    path: str = attrs.field(validator=min_len(1))
    files: str | list[str] = attrs.field(factory=list, validator=_check_files)
    config: str = ""
    split: str = attrs.field(default="train", validator=min_len(1))
    field: str = attrs.field(default="text", validator=min_len(1))
    separator: str = "\n\n"
    streaming: bool = True
    limit: int = attrs.field(default=0, validator=ge(0))
    revision: str = ""
    held_out: float = attrs.field(default=HELD_OUT, validator=SHARE)
    valid: str = ""
    sha256: str = attrs.field(default="", validator=check_sha256)

    def __attrs_post_init__(self) -> None:
        if self.path in FORMATS and not self.files:
            raise ValueError(
                f"files must name what to read as {self.path}; a folder called so is ./{self.path}"
            )
        check_either(self.held_out, self.valid)
        learned, held = self.split.split("+"), self.valid.split("+")
        if any(_overlap(a, b) for a in learned for b in held):
            raise ValueError(f"valid must not be in split: {self.valid!r} would be learned from")

    def build(self) -> Text:
        """Raises UserError for data sets and columns that do not exist, and without the extra where it is
        needed; StorageError when something cannot be read or written."""
        train, *valid = (self._text(part) for part in (self.split, self.valid) if part)
        name = and_more(listed(self.files) or [self.path])
        return split("hf", [train], self.held_out, self.sha256, valid, dict.fromkeys([train, *valid], name))

    def _text(self, split: str) -> Path:
        """The text of a split, in the cache."""
        keys = {k: v for k, v in attrs.asdict(self).items() if k not in ("held_out", "valid", "sha256")}
        depends = [{**keys, "split": split}, [state(file) for file in self._local()]]
        key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        return cached_file(f"texts/hf-{key}", lambda file: self._write(file, split))

    def _local(self) -> list[str]:
        """The local files that the text is read from, as far as the keys name them."""
        folder = os.path.expanduser(self.path)
        below = expand(folder) if os.path.isdir(folder) else []
        return sorted(filter(os.path.isfile, {*self._files(), *below}))

    def _files(self) -> list[str]:
        """What the library is to read: each local file once, and what may be elsewhere as it is named."""
        names = listed(self.files)
        local = [name for name in names if expand(name)]
        real = {str(file) for file in find("hf", local)} if local else set()
        in_order = dict.fromkeys(str(Path(file)) for name in local for file in sorted(expand(name)))
        return [*(file for file in in_order if file in real), *(n for n in names if n not in local)]

    def _write(self, file: BinaryIO, split: str) -> None:
        left = self.limit or None
        for text in self._texts(split):
            encoded = f"{text}{self.separator}".encode()
            if left is not None and len(encoded) >= left:
                file.write(encoded[:left].decode(errors="ignore").encode())
                return
            file.write(encoded)
            left = None if left is None else left - len(encoded)

    def _texts(self, split: str) -> Iterator[str]:
        if find_spec("datasets") is None:
            raise UserError('hf: needs the package datasets: pip install "resnetbk[hf]"')
        try:
            rows = importlib.import_module("datasets").load_dataset(
                os.path.expanduser(self.path),
                self.config or None,
                data_files=[glob.escape(f) if os.path.isfile(f) else f for f in self._files()] or None,
                split=split,
                streaming=self.streaming,
                revision=self.revision or None,
            )
            for row in rows:
                if self.field not in row:
                    columns = ", ".join(sorted(row))
                    raise UserError(f"hf: {self.path!r} has no column {self.field!r}; allowed: {columns}")
                text = row[self.field]
                if isinstance(text, str):
                    yield text
                elif text is not None:
                    kind = type(text).__name__
                    raise UserError(f"hf: column {self.field!r} of {self.path!r} holds {kind}, not text")
        except UserError:
            raise
        except Exception as error:  # the library and its formats raise errors without a common base
            cause = one_line(error)
            missing = isinstance(error, FileNotFoundError) or not isinstance(error, OSError)
            refused = UserError if missing else StorageError
            raise refused(f"hf: cannot read {self.path!r}: {cause}") from error


def _overlap(a: str, b: str) -> bool:
    """Whether two splits are of one name; two different slices of it are taken for apart."""
    name, sliced, _ = a.strip().partition("[")
    other, also_sliced, _ = b.strip().partition("[")
    return name == other and not (sliced and also_sliced and a != b)
