"""Token shards that other programs wrote: `.bin` files of llm.c, modded-nanogpt and nanoGPT.

llm.c and modded-nanogpt begin a file with 256 int32 (magic number, version, count of tokens, zeros), nanoGPT
with the tokens themselves; all numbers are little-endian. Formats: llm.c, `dev/data/data_common.py`; nanoGPT,
`data/openwebtext/prepare.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import attrs
import numpy as np

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError, UserError, printable
from resnetbk.files import accessing
from resnetbk.kinds import Text
from resnetbk.texts import LARGE
from resnetbk_plugins.corpus.finding import find
from resnetbk_plugins.corpus.text import check_apart, check_names, listed

if TYPE_CHECKING:
    from resnetbk.kinds import Array

HEADER = 1024
"""Bytes before the tokens of a file that begins with a magic number."""

VERSIONS = {20240520: 1, 20240801: 7}
"""By magic number: what llm.c writes for the tokens of GPT-2 and of Llama 3."""


@attrs.frozen(kw_only=True)
class Tokens:
    """Tokens that are read as they are, in the order of the paths of their files; `data.tokenizer` must have
    them all, and encodes prompts alone: `ids` takes and gives them as numbers. Many stay on disk, those of
    several files joined in the cache; files must not change during a run.

    path   a file, a folder (all `*.bin` in it and below) or a pattern such as `fineweb_train_*.bin`; several
           in a list
    valid  the files held out, in the same form
    dtype  of tokens in files without a header; others are as wide as their header's count says
    """

    path: str | list[str] = attrs.field(validator=check_names)
    valid: str | list[str] = attrs.field(validator=check_names)
    dtype: Literal["uint16", "uint32"] = "uint16"

    def __attrs_post_init__(self) -> None:
        if not self.path or not self.valid:
            raise ValueError("path and valid must each be a file, folder or pattern, or a list of them")

    def build(self) -> Text:
        """Raises UserError for missing files and other formats, StorageError for damaged files."""
        files, held = (find("tokens", listed(names), ["*.bin"]) for names in (self.path, self.valid))
        check_apart("tokens", files, held)
        train, valid = (_joined([shard(file, self.dtype) for file in part]) for part in (files, held))
        hashed = hashlib.sha256(train.data)
        hashed.update(valid.data)
        return Text(b"", b"", hashed.hexdigest(), tokens=(train, valid))


def shard(file: Path, dtype: str) -> Array:
    """(T,) unsigned integers, mapped from a file: of the width that its header says, else `dtype`."""
    name, width, start = printable(str(file)), np.dtype(dtype).itemsize, 0
    with accessing(file, "read"):
        size = file.stat().st_size
        header = np.fromfile(file, "<i4", min(size // 4, 3)).tolist()
    if header and header[0] in VERSIONS and size >= HEADER:
        magic, version, count = header
        if version != VERSIONS[magic]:
            raise UserError(f"tokens: {name} is of version {version}, where {VERSIONS[magic]} can be read")
        start, rest = HEADER, size - HEADER
        if rest not in (2 * count, 4 * count):
            raise StorageError(
                f"tokens: {name} is damaged: its header counts {count:,} tokens of 2 or 4 bytes, and "
                f"{rest:,} bytes follow"
            )
        width = rest // count if count else width
    if size == start or (size - start) % width:
        raise UserError(
            f"tokens: {name} has {size - start:,} bytes, no tokens of {width} (dtype = {dtype!r})"
        )
    return np.memmap(file, f"<u{width}", "r", start).view(np.ndarray)


def _joined(shards: Sequence[Array]) -> Array:
    """All tokens as one array of the widest type: in memory, or mapped if there are many."""
    dtype = max(shard.dtype for shard in shards)
    if sum(map(len, shards)) * dtype.itemsize <= LARGE:
        return np.concatenate(shards).astype(dtype, copy=False)
    if len(shards) == 1:
        return shards[0]
    hashed = hashlib.sha256()
    for each in shards:
        hashed.update(each.astype(dtype, copy=False).data)

    def write(file: BinaryIO) -> None:
        for each in shards:
            file.write(each.astype(dtype, copy=False).data)

    return np.memmap(cached_file(f"tokens/{hashed.hexdigest()}.{dtype}", write), dtype, "r").view(np.ndarray)
