"""Counter-based random numbers, which depend on seed and position alone.

If noise were drawn in the shape of the batch, noise at a row would change with the number of rows, and so
with the text after it where a scheduler reads that number from the text.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF


def uniform(seed: int, lane: Tensor, position: Tensor) -> Tensor:
    """Uniform in (0, 1) for each lane (B, 1) and position (B, M), fp32; a pure function of its arguments."""
    return ((_mixed(_mixed(lane * 0x9E3779B1 + seed) ^ position * 0x85EBCA77) >> 9).float() + 0.5) / 2**23


def drawn(position: Tensor) -> Tensor:
    """`uniform` (B, M) with a lane for each sequence of the batch and a seed from torch's generator."""
    seed = int(torch.randint(2**31, ()))
    return uniform(seed, torch.arange(position.shape[0], device=position.device)[:, None], position)


def _mixed(h: Tensor) -> Tensor:
    """MurmurHash3's finalizer, on 32 bits. If a product overflows, its low word is still right."""
    h = h & _WORD
    h = (h ^ (h >> 16)) * 0x85EBCA6B & _WORD
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & _WORD
    return h ^ (h >> 16)
