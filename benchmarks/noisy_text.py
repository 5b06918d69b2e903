"""Writes a text of which half of what is learned from cannot be learned, and nothing of what is held out.

    python benchmarks/noisy_text.py tinyshakespeare.txt noisy.txt

After every 2048 bytes of the first nine tenths stand as many random base64 digits, as in a crawl that met
binary files; the last tenth is as it was. Prints the share to hold out, for `data.corpus.held_out`.
"""

from __future__ import annotations

import base64
import random
import sys
from pathlib import Path

PIECE = 2048
HELD_OUT = 0.1


def noisy(text: bytes, seed: int = 0) -> tuple[bytes, float]:
    """The text with its noise, and the share of it that is the held-out end."""
    digits = random.Random(seed)
    cut = len(text) - round(len(text) * HELD_OUT)
    pieces = [text[start : min(start + PIECE, cut)] for start in range(0, cut, PIECE)]
    mixed = [each + base64.b64encode(digits.randbytes(len(each)))[: len(each)] for each in pieces]
    whole = b"".join(mixed) + text[cut:]
    return whole, (len(text) - cut) / len(whole)


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    whole, held_out = noisy(source.read_bytes())
    target.write_bytes(whole)
    print(f"{target}: {len(whole):,} bytes, held_out = {held_out:.6f}")


if __name__ == "__main__":
    main()
