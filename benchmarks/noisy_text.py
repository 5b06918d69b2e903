"""Writes a text in which half of the training part is noise, and none of the held-out part.

    python benchmarks/noisy_text.py tinyshakespeare.txt noisy.txt

In the first nine tenths, every 2048 bytes are followed by as many random base64 digits, as in a web crawl
with binary files; the last tenth is unchanged. Prints the share to hold out, for `data.corpus.held_out`.
"""

from __future__ import annotations

import base64
import random
import sys
from pathlib import Path

PIECE = 2048
HELD_OUT = 0.1


def noisy(text: bytes, seed: int = 0) -> tuple[bytes, float]:
    """The text with noise, and the share of it that is the held-out end."""
    digits = random.Random(seed)
    cut = len(text) - round(len(text) * HELD_OUT)
    pieces = [text[start : min(start + PIECE, cut)] for start in range(0, cut, PIECE)]
    mixed = [piece + base64.b64encode(digits.randbytes(len(piece)))[: len(piece)] for piece in pieces]
    whole = b"".join(mixed) + text[cut:]
    return whole, (len(text) - cut) / len(whole)


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    whole, held_out = noisy(source.read_bytes())
    target.write_bytes(whole)
    print(f"{target}: {len(whole):,} bytes, held_out = {held_out:.6f}")


if __name__ == "__main__":
    main()
