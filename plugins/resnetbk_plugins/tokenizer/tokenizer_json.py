"""A tokenizer from a `tokenizer.json`, the file of Hugging Face's models, as far as it gives back all bytes.

What cuts or fills texts, adds tokens around them or draws at random is left out, and so is Unicode's
normalization form C: text comes back as it was. Run by the library `tokenizers` (extra `hf`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import min_len

from resnetbk.errors import UserError, printable
from resnetbk_plugins.corpus.text import check_sha256
from resnetbk_plugins.tokenizer.byte_level import (
    ByteLevelTokenizer,
    library_version,
    read_checked,
    restored,
)

if TYPE_CHECKING:
    from resnetbk.kinds import Text

PROBE = "A  b\n\n\tc \r\n12345 it's É e\u0301 ﬁ 你好🙂\x00 end \n"
"""What text loses or gains in tokenizers that are not of bytes: spaces, case, accents, controls."""


@attrs.frozen(kw_only=True)
class TokenizerJson:
    """Needed until training has begun: checkpoints hold the tokenizer, so a run is used without the file.

    path    the file, relative to the working directory; `~` is your home
    sha256  of the file; if given, any other is refused
    """

    path: str = attrs.field(validator=min_len(1))
    sha256: str = attrs.field(default="", validator=check_sha256)

    def build(self, *, text: Text) -> ByteLevelTokenizer:
        """Raises UserError for a file that is missing or of another kind, and without the extra."""
        library_version("tokenizer-json")
        content = read_checked("tokenizer-json", self.path, self.sha256)
        name = f"tokenizer-json: {printable(self.path)}"
        try:
            tokenizer = ByteLevelTokenizer(_of_text_alone(content))
        except ValueError as error:
            raise UserError(
                f"{name} is no tokenizer.json with a token for each byte, as GPT-2, Llama 3 and Qwen have "
                f"({printable(str(error))})"
            ) from error
        for probe in (PROBE, *(f"a {token} b" for token in tokenizer.added)):
            back = tokenizer.decode(tokenizer.encode(probe.encode()).tolist())
            if back != probe.encode():
                raise UserError(
                    f"{name} does not give back what it encodes: {probe!r} becomes "
                    f"{back.decode(errors='replace')!r}; those of GPT-2, Llama 3 and Qwen do"
                )
        return tokenizer

    def restore(self, *, state: dict[str, Any]) -> ByteLevelTokenizer:
        """Raises StorageError when the state holds no tokenizer, UserError without the extra."""
        return restored("tokenizer-json", state)


def _of_text_alone(content: bytes) -> str:
    """The file without what makes other tokens than the text's. Raises ValueError for no JSON object."""
    try:
        file = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(file, dict) or not isinstance(model := file.get("model"), dict):
        raise ValueError("no object with a model")
    file |= dict.fromkeys(("truncation", "padding", "post_processor"))
    if file.get("normalizer") == {"type": "NFC"}:
        file["normalizer"] = None
    if "dropout" in model:
        model["dropout"] = None
    return json.dumps(file, ensure_ascii=False)
