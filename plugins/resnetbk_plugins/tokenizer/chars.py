"""One token per character: a small vocabulary for a corpus with few different characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from resnetbk.errors import StorageError, UserError
from resnetbk.texts import pieces

if TYPE_CHECKING:
    from resnetbk.kinds import Array, Text


@attrs.frozen(kw_only=True)
class Chars:
    """The vocabulary is every character of the corpus, held-out text included, in code point order."""

    def build(self, *, text: Text) -> CharTokenizer:
        characters = [np.unique(_code_points(p)) for part in (text.train, text.valid) for p in pieces(part)]
        return CharTokenizer(np.unique(np.concatenate([np.empty(0, "<u4"), *characters])))

    def restore(self, *, state: dict[str, Any]) -> CharTokenizer:
        """Raises StorageError when the state holds no alphabet."""
        alphabet = state.get("alphabet")
        if not isinstance(alphabet, str) or not alphabet or list(alphabet) != sorted(set(alphabet)):
            raise StorageError("chars: the saved state holds no alphabet of sorted, different characters")
        return CharTokenizer(np.array([ord(character) for character in alphabet], dtype="<u4"))


class CharTokenizer:
    """alphabet (V,) uint32: the code points, rising; a token is an index into it."""

    def __init__(self, alphabet: Array) -> None:
        self.vocabulary = len(alphabet)
        self._alphabet = alphabet
        # The token of every code point; V where there is none.
        self._token = np.full(0x110000, self.vocabulary, dtype=np.uint32)
        self._token[alphabet] = np.arange(self.vocabulary)

    def encode(self, text: bytes | memoryview) -> Array:
        """(T,) uint8 for up to 256 characters, uint16 for up to 65536, else uint32.

        Raises UserError naming the first character that is not in the alphabet, and its place.
        """
        points = _code_points(text)
        tokens = self._token[points]
        unknown = np.flatnonzero(tokens == self.vocabulary)
        if unknown.size:
            point = int(points[unknown[0]])
            raise UserError(
                f"chars: {chr(point)!r} (U+{point:04X}) at character {unknown[0]} is not among "
                f"the {self.vocabulary} of the corpus"
            )
        return tokens.astype(np.min_scalar_type(self.vocabulary - 1))

    def decode(self, tokens: Sequence[int]) -> bytes:
        """UTF-8. Raises ValueError on tokens outside [0, V)."""
        indices = np.asarray(tokens, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.vocabulary:
            raise ValueError(f"tokens must be in [0, {self.vocabulary})")
        return self._alphabet[indices].tobytes().decode("utf-32-le").encode()

    def state(self) -> dict[str, Any]:
        return {"alphabet": self._alphabet.tobytes().decode("utf-32-le")}


def _code_points(text: bytes | memoryview) -> Array:
    try:
        return np.frombuffer(str(text, "utf-8").encode("utf-32-le"), dtype="<u4")
    except UnicodeDecodeError as error:
        raise UserError(f"chars: the text is not UTF-8 at byte {error.start}") from error
