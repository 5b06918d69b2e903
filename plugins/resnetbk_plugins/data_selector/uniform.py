"""How many windows of a batch are chosen by nobody."""

from __future__ import annotations


def uniform_windows(share: float, batch: int) -> int:
    """The share of a batch, rounded to whole windows; any share above 0 is at least one of them."""
    return max(round(share * batch), 1 if share else 0)
