"""How errors that have no type of their own say that memory ran out."""

from __future__ import annotations

WORDS = (
    *("out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory"),
    *("ALLOC_FAILED", "could not create a primitive", "failed to map segment"),
)
"""Of CUDA's and the CPU's allocators, the system, cuBLAS, oneDNN, and the loader of libraries."""


def exhausted(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that memory ran out."""
    cause: BaseException | None = error
    while cause is not None:
        typed = type(cause).__name__ in ("MemoryError", "OutOfMemoryError")  # the latter is torch's
        if typed or any(words in str(cause) for words in WORDS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
