"""GPT-2's and later vocabularies of OpenAI from a file of ranks: `gpt2.tiktoken`, `cl100k_base.tiktoken`.

A line holds the bytes of a token, in base64, and its rank, which is its number and the order of merges: the
format of the library tiktoken, from which the patterns are (`tiktoken_ext/openai_public.py`). Run by the
library `tokenizers` (extra `hf`), after the same conversion as that of transformers (`TikTokenConverter`).
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge, min_len, optional

from resnetbk.errors import UserError, printable
from resnetbk_plugins.corpus.text import check_sha256
from resnetbk_plugins.tokenizer.byte_level import (
    ByteLevelTokenizer,
    byte_characters,
    library_version,
    read_checked,
    restored,
)

if TYPE_CHECKING:
    from resnetbk.kinds import Text

_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"

PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}",
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDINGS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDINGS}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}",
}
"""How a text is cut into words, over whose borders nothing is merged."""

END = "<|endoftext|>"


@attrs.frozen(kw_only=True)
class Tiktoken:
    """Needed until training has begun: checkpoints hold the tokenizer, so a run is used without the file.

    path       the file, relative to the working directory; `~` is your home
    pattern    how text is cut into words: "gpt2" also for r50k and p50k, "cl100k", "o200k"
    endoftext  the number of the token `<|endoftext|>`, which files of ranks leave out: 50256 in gpt2, 100257
               in cl100k, 199999 in o200k; if left out, there is no such token
    sha256     of the file; if given, any other is refused
    """

    path: str = attrs.field(validator=min_len(1))
    pattern: Literal["gpt2", "cl100k", "o200k"]
    endoftext: int | None = attrs.field(default=None, validator=optional(ge(0)))
    sha256: str = attrs.field(default="", validator=check_sha256)

    def build(self, *, text: Text) -> ByteLevelTokenizer:
        """Raises UserError for a file that is missing or of another kind, and without the extra."""
        library_version("tiktoken")
        name = f"tiktoken: {printable(self.path)}"
        ranks = _ranks(name, read_checked("tiktoken", self.path, self.sha256))
        if self.endoftext in ranks.values():
            raise UserError(
                f"{name} has another token of number {self.endoftext}; "
                f"give endoftext = {max(ranks.values()) + 1} or more"
            )
        return ByteLevelTokenizer(_converted(ranks, PATTERNS[self.pattern], self.endoftext))

    def restore(self, *, state: dict[str, Any]) -> ByteLevelTokenizer:
        """Raises StorageError when the state holds no tokenizer, UserError without the extra."""
        return restored("tiktoken", state)


def _ranks(name: str, content: bytes) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError:
            if not line.strip():
                continue
            raise UserError(
                f"{name}:{number}: expects a token in base64 and its rank, as in 'IHRoZQ== 262'; a file of "
                'JSON is for { use = "tokenizer-json" }'
            ) from None
    if missing := [value for value in range(256) if bytes([value]) not in ranks]:
        raise UserError(f"{name} has no token for {len(missing)} of the 256 bytes, such as {missing[0]}")
    if len(set(ranks.values())) < len(ranks) or not 0 <= min(ranks.values()) <= max(ranks.values()) < 1 << 24:
        raise UserError(f"{name} gives the same rank to several tokens, or one that is negative or absurd")
    return ranks


def _converted(ranks: dict[bytes, int], pattern: str, end: int | None) -> str:
    """The tokenizer.json: any two tokens that are one token together merge, in the order of its rank."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    characters = byte_characters()
    names = {token: "".join(characters[value] for value in token) for token in ranks}
    merges = [
        (rank, ranks[token[:at]], names[token[:at]], names[token[at:]])
        for token, rank in ranks.items()
        for at in range(1, len(token))
        if token[:at] in ranks and token[at:] in ranks
    ]
    vocabulary = {names[token]: rank for token, rank in ranks.items()}
    added = []
    if end is not None:
        vocabulary[END] = end
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        added = [{"id": end, "content": END, "special": True, **flags}]
    pairs = [(left, right) for *_, left, right in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    return json.dumps({**json.loads(tokenizer.to_str()), "added_tokens": added}, ensure_ascii=False)
