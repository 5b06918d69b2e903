"""Where a training runs, and whether there is memory for it."""

from __future__ import annotations

import torch

from resnetbk.errors import UserError

EXHAUSTED = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
"""What CUDA's and the CPU's allocators and cuBLAS say, in errors that have no type of their own."""


def find_device(asked: str | None = None) -> torch.device:
    """`cpu` or `cuda` as asked; without that, cuda where there is one. Raises UserError for one that is not
    there."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UserError("there is no CUDA device here; leave --device out, or say cpu")
    return torch.device(asked or ("cuda" if there else "cpu"))


def exhausted(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    found = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return found or any(words in str(error) for words in EXHAUSTED)
