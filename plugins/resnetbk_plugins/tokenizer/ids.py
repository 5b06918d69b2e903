"""Tokens as numbers, for corpora that hold tokens and no text: their own tokenizer translates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs.validators import ge

from resnetbk.errors import StorageError, UserError

if TYPE_CHECKING:
    from resnetbk.kinds import Array, Text


@attrs.frozen(kw_only=True)
class Ids:
    """The text of a token is a space and its number in decimal: `resnetbk generate RUN --prompt "464 3290"`.
    So bits/byte are those of numbers written out; compare nats/token.

    vocabulary  tokens, from 0: 50257 of GPT-2, 50304 as modded-nanogpt pads it
    """

    vocabulary: int = attrs.field(validator=ge(2))

    def build(self, *, text: Text) -> IdTokenizer:
        return IdTokenizer(self.vocabulary)

    def restore(self, *, state: dict[str, Any]) -> IdTokenizer:
        """Raises StorageError when the state holds no size of a vocabulary."""
        vocabulary = state.get("vocabulary")
        if not isinstance(vocabulary, int) or vocabulary < 2:
            raise StorageError("ids: the saved state holds no vocabulary")
        return IdTokenizer(vocabulary)


class IdTokenizer:
    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def encode(self, text: bytes | memoryview) -> Array:
        """(T,) uint16 or uint32. Raises UserError naming the first word that is no token."""
        words = bytes(text).split()
        for word in words:
            if not word.isdigit() or int(word) >= self.vocabulary:
                shown = word[:40].decode(errors="replace")
                raise UserError(
                    f"ids: {shown!r} is no token, a number below {self.vocabulary}, such as in '464 3290'"
                )
        return np.array([int(word) for word in words], np.min_scalar_type(self.vocabulary - 1))

    def decode(self, tokens: Sequence[int]) -> bytes:
        """Raises ValueError on tokens outside [0, V)."""
        indices = np.asarray(tokens, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.vocabulary:
            raise ValueError(f"tokens must be in [0, {self.vocabulary})")
        return b"".join(b" %d" % token for token in indices.tolist())

    def state(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary}
