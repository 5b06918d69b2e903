"""The share of a batch that is drawn uniformly, in windows."""

from __future__ import annotations


def uniform_windows(share: float, batch: int) -> int:
    """`share` of a batch, rounded to whole windows; any share above 0 is at least one window."""
    return max(round(share * batch), 1 if share else 0)
