"""One token per byte: any text, in any language, with a vocabulary of 256."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

if TYPE_CHECKING:
    from resnetbk.kinds import Array, Text


@attrs.frozen(kw_only=True)
class Bytes:
    """Every byte is a token."""

    def build(self, *, text: Text) -> ByteTokenizer:
        return ByteTokenizer()

    def restore(self, *, state: dict[str, Any]) -> ByteTokenizer:
        return ByteTokenizer()


class ByteTokenizer:
    vocabulary = 256

    def encode(self, text: bytes | memoryview) -> Array:
        """(T,) uint8: a read-only view of `text`, not a copy."""
        return np.frombuffer(text, dtype=np.uint8)

    def decode(self, tokens: Sequence[int]) -> bytes:
        """Raises ValueError on tokens outside [0, 256)."""
        return bytes(np.asarray(tokens).tolist())

    def state(self) -> dict[str, Any]:
        return {}
