"""Where a training runs, and whether there is memory for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from resnetbk.errors import UserError

EXHAUSTED = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
"""What CUDA's and the CPU's allocators and cuBLAS say, in errors that have no type of their own."""


_HERE: ContextVar[torch.device | None] = ContextVar("device", default=None)


@contextmanager
def at(device: torch.device) -> Iterator[None]:
    """Within it, `find_device` gives this device when it is asked for none."""
    token = _HERE.set(device)
    try:
        yield
    finally:
        _HERE.reset(token)


def find_device(asked: str | None = None) -> torch.device:
    """`cpu` or `cuda` as asked; without that, the device of `at`, else cuda if available. Raises UserError
    for a device that is not there."""
    if not asked and (here := _HERE.get()):
        return here
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UserError("there is no CUDA device here; leave --device out, or say cpu")
    return torch.device(asked or ("cuda" if there else "cpu"))


def exhausted(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    typed = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return typed or any(words in str(error) for words in EXHAUSTED)
