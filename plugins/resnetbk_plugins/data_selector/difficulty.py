"""How hard windows are, by a named measure, computed once before training."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from resnetbk_plugins.data_selector.layout import Layout
from resnetbk_plugins.data_selector.ngram import ngram_nats

if TYPE_CHECKING:
    from resnetbk.kinds import Array, ParentCosts

MEASURES = ("ngram", "rarity", "compressibility", "loss")

ORDER = 5
"""Of the n-grams of "ngram" and of the irreducible part of a loss. On tiny Shakespeare's bytes orders 3 to 7
give 1.92, 1.57, 1.44, 1.43 and 1.45 nats/token; the n-gram baseline on held-out text is 1.52."""


def difficulty(tokens: Array, layout: Layout, measure: str, reference: str) -> tuple[Array, ParentCosts]:
    """(count,) float32 for each window of the layout, larger when harder (see `Curriculum` for the measures),
    and what the reference run cost to train, by its folder, if there is one.

    Raises what `reference_losses` does.
    """
    if measure == "loss":
        from resnetbk_plugins.data_selector.reference import reference_losses

        return reference_losses(tokens, layout, reference)
    if measure == "compressibility":
        sizes = (len(zlib.compress(_bytes(tokens, layout, number))) for number in range(layout.count))
        return np.fromiter(sizes, np.float32, layout.count) / np.float32(layout.window), {}
    order = ORDER if measure == "ngram" else 1
    return window_nats(tokens, layout, order), {}


def window_nats(tokens: Array, layout: Layout, order: int = ORDER) -> Array:
    """(count,) float32: the n-gram loss of each window; see `ngram_nats`."""
    return ngram_nats(tokens, offset=layout.offset, window=layout.window, count=layout.count, order=order)


def _bytes(tokens: Array, layout: Layout, number: int) -> bytes:
    first = layout.offset + number * layout.window
    return np.ascontiguousarray(tokens[first : first + layout.window]).tobytes()
