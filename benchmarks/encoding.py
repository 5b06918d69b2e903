"""MB/s of encoding a text with `bpe`, beside `tokenizers` alone: the same merges, the same documents, paired.

    python benchmarks/encoding.py FILE [vocabulary]

Alone, the library gets all documents (about 16 KB, cut at line ends) in one call of `encode_batch_fast` and
gives lists of tokens; `bpe` gets bytes and gives an array. Documents are decoded before the clock starts.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from paired import median, paired, ratio

from resnetbk.kinds import Text
from resnetbk_plugins.tokenizer.bpe import BPE
from resnetbk_plugins.tokenizer.byte_level import _shares


def main(file: str, vocabulary: str = "8192") -> None:
    from tokenizers import Tokenizer

    data = Path(file).read_bytes()
    text = Text(data, b"", hashlib.sha256(data).hexdigest())
    ours = BPE(vocabulary=int(vocabulary)).build(text=text)
    alone = Tokenizer.from_str(ours.state()["tokenizer"])
    documents = list(_shares(data.decode()))

    def library() -> list[list[int]]:
        return [encoded.ids for encoded in alone.encode_batch_fast(documents, add_special_tokens=False)]

    assert ours.encode(data).tolist() == [token for tokens in library() for token in tokens]
    seconds = paired({"tokenizers": library, "bpe": lambda: ours.encode(data)}, rounds=7)
    for name, taken in seconds.items():
        print(f"{name:12} {len(data) / 1e6 / median(taken):6.2f} MB/s")
    print(f"speed of bpe, of tokenizers alone: {ratio(seconds['tokenizers'], seconds['bpe'])}")


if __name__ == "__main__":
    main(*sys.argv[1:])
