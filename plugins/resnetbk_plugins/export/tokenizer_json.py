"""Our tokenizers as a tokenizer.json, the format of the library `tokenizers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnetbk_plugins.tokenizer.byte_level import ByteLevelTokenizer, byte_characters
from resnetbk_plugins.tokenizer.bytes import ByteTokenizer
from resnetbk_plugins.tokenizer.chars import CharTokenizer

if TYPE_CHECKING:
    from resnetbk.kinds import Tokenizer


def tokenizer_json(tokenizer: Tokenizer) -> str | None:
    """The same tokens for any UTF-8 text (`bpe`: without 256 characters or more in a row that it would cut);
    None for a tokenizer that this does not know. A text that `chars` has no tokens for raises there too."""
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers

    if isinstance(tokenizer, ByteLevelTokenizer):
        library = Library.from_str(tokenizer.state()["tokenizer"])
        library.decoder = decoders.ByteLevel()
    elif isinstance(tokenizer, ByteTokenizer):
        vocabulary = {character: byte for byte, character in enumerate(byte_characters())}
        library = Library(models.BPE(vocab=vocabulary, merges=[]))
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.decoder = decoders.ByteLevel()
    elif isinstance(tokenizer, CharTokenizer):
        library = _of_characters(tokenizer.state()["alphabet"])
    else:
        return None
    saved: str = library.to_str()
    return saved


def _of_characters(alphabet: str) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    library = Tokenizer(models.WordLevel({c: i for i, c in enumerate(alphabet)}, unk_token="no such token"))
    library.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    library.decoder = decoders.Fuse()
    return library
