"""Byte-pair encoding over bytes, learned from the training text: frequent strings become tokens.

Sennrich et al. 2016, arXiv:1508.07909, over bytes as in GPT-2, so that no text is out of vocabulary. Learned
and run by the library `tokenizers` (extra `hf`). The learned merges are cached, keyed by all that they depend
on; so a second run with the same text and vocabulary is not charged with learning them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
from attrs.validators import ge

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError
from resnetbk.texts import pieces
from resnetbk_plugins.tokenizer.byte_level import (
    RUN,
    ByteLevelTokenizer,
    byte_characters,
    cut,
    library_version,
    restored,
)

if TYPE_CHECKING:
    from resnetbk.kinds import Text

UNBROKEN = 4 << 20
"""Characters in runs of `RUN` and more from which merges are learned; each takes 100 bytes of memory then."""


@attrs.frozen(kw_only=True)
class BPE:
    """Up to `vocabulary` tokens including the 256 bytes; fewer if the text has no more pairs to merge."""

    vocabulary: int = attrs.field(default=1024, validator=ge(256))

    def build(self, *, text: Text) -> ByteLevelTokenizer:
        """Raises UserError without the extra."""
        depends = [text.sha256, len(text.train), self.vocabulary, library_version("bpe"), RUN, UNBROKEN]
        key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()

        def write(file: BinaryIO) -> None:
            file.write(_learn(text, self.vocabulary).encode())

        path = cached_file(f"bpe/{key}.json", write)
        try:
            return ByteLevelTokenizer(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StorageError(f"bpe: {path} is damaged; delete it") from error

    def restore(self, *, state: dict[str, Any]) -> ByteLevelTokenizer:
        """Raises StorageError when the state holds no tokenizer, UserError without the extra."""
        return restored("bpe", state)


def _learn(text: Text, vocabulary: int) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=byte_characters(), show_progress=False
    )
    tokenizer.train_from_iterator(_learned(text), trainer)
    saved: str = tokenizer.to_str()
    return saved


def _learned(text: Text) -> Iterator[str]:
    """What merges are learned from: all, but of unbroken runs only the first `UNBROKEN` characters."""
    unbroken = 0
    for piece in pieces(text.train):
        for index, part in enumerate(cut(piece.decode(errors="ignore"))):
            unbroken += len(part) * (index % 2)
            if index % 2 == 0 or unbroken <= UNBROKEN:
                yield part
    if unbroken:
        logging.getLogger("resnetbk").warning(
            "bpe: %s characters of the text are in runs of %d or more without a space, as base64 is: tokens "
            "end after each %d there, and merges are learned from the first %s",
            *(f"{unbroken:,}", RUN, RUN, f"{min(unbroken, UNBROKEN):,}"),
        )
