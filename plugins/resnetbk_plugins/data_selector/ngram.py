"""The leave-one-out n-gram loss of windows: each token is predicted from counts of all others.

Absolute discounting (Ney, Essen and Kneser, "On structuring probabilistic dependences in stochastic language
modelling", 1994), interpolated, where every occurrence is left out of its own counts:

    p_n(w | h) = (max(c(hw) - 1 - D, 0) + D t p_{n-1}(w | h')) / (c(h) - 1),    p_0 = 1 / V

c counts occurrences in the whole text, t the different tokens that follow the other occurrences of h, h'
is h without its first token, and V is the largest token + 1. Where h does not occur again, p_n is p_{n-1}.
Without leaving out, text that occurs once would seem easy, since its own counts predict it. Counts are stored
by hash, in the same memory for any text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from resnetbk.kinds import Array

DISCOUNT = 0.75
"""D, in occurrences."""

CHUNK = 2**20
"""Tokens processed at a time, or one window where that is more."""

TABLE_BITS = 22
"""log2 of the number of counts per order: 64 MiB for each."""

SPREAD, CHAIN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
"""Odd numbers that share no structure with tokens: the golden ratio's, and another one like it."""


@attrs.frozen(eq=False)
class Order:
    """The counts for one n, by hash.

    grams  (2^TABLE_BITS,) int64: occurrences of n-grams
    types  (2^TABLE_BITS,) float64: different tokens after (n - 1)-grams
    """

    grams: Array = attrs.field(factory=lambda: np.zeros(2**TABLE_BITS, np.int64))
    types: Array = attrs.field(factory=lambda: np.zeros(2**TABLE_BITS))


def ngram_nats(tokens: Array, *, offset: int, window: int, count: int, order: int) -> Array:
    """(count,) float32: mean nats/token over the targets of `count` windows laid end to end from `offset`.

    tokens (T,) may be mapped from a file: they are read in pieces.
    """
    total = len(tokens)
    vocabulary = 1 + max(int(tokens[first:last].max()) for first, last in _pieces(total, CHUNK))
    orders = [Order() for _ in range(order)]
    for first, last in _pieces(total, CHUNK):
        for counted, (_, grams) in zip(orders, _places(tokens, first, last, order), strict=True):
            np.add.at(counted.grams, grams, 1)
    for first, last in _pieces(total, CHUNK):
        for counted, (contexts, grams) in zip(orders, _places(tokens, first, last, order), strict=True):
            # the occurrences of an n-gram add up to one type
            np.add.at(counted.types, contexts, 1.0 / counted.grams[grams])
    nats = np.empty(count, np.float32)
    for first, last in _pieces(count, max(1, CHUNK // window)):
        begin, end = offset + first * window + 1, offset + last * window + 1  # the targets
        predicted = _predict(_places(tokens, begin, end, order), orders, total, 1.0 / vocabulary)
        nats[first:last] = -np.log(predicted).reshape(-1, window).mean(1)
    return nats


def _pieces(total: int, size: int) -> Iterator[tuple[int, int]]:
    return pairwise([*range(0, total, size), total])


def _places(tokens: Array, first: int, last: int, order: int) -> list[tuple[Array, Array]]:
    """For n = 1 to `order`, the table indices of the (n - 1)-grams before, and of the n-grams that end at,
    each token of [first, last). Before the text there are zeros."""
    begin = first - order
    piece = np.zeros(last - begin, np.uint64)
    piece[max(0, -begin) :] = tokens[max(0, begin) : last]
    piece[max(0, -begin) :] += np.uint64(1)
    key = np.zeros_like(piece)
    ends = [np.zeros(len(piece) - order + 1, np.int64)]  # the 0-gram precedes every token
    for _ in range(order):
        # each key extends the one that ends a token earlier: one more token to the left
        key = np.concatenate([key[:1], key[:-1]]) * CHAIN + piece
        mixed = (key ^ (key >> np.uint64(32))) * SPREAD
        ends.append((mixed >> np.uint64(64 - TABLE_BITS))[order - 1 :].astype(np.int64))
    return [(shorter[:-1], longer[1:]) for shorter, longer in pairwise(ends)]


def _predict(
    places: Sequence[tuple[Array, Array]], orders: Sequence[Order], total: int, uniform: float
) -> Array:
    """p of each token that `places` belongs to, at the highest order."""
    predicted = np.full(len(places[0][0]), uniform)
    others = np.full(len(predicted), total - 1.0)  # other occurrences of the context
    for n, (contexts, grams) in enumerate(places):
        if n:
            others = orders[n - 1].grams[contexts] - 1.0
        again = orders[n].grams[grams] - 1.0
        # at least one: rounding, and the end of the text, may give less
        types = np.maximum(orders[n].types[contexts] - (again == 0), 1.0)
        left = np.maximum(again - DISCOUNT, 0.0) + DISCOUNT * types * predicted
        # with hash collisions a context may seem rarer than what follows it
        mixed = left / np.maximum(others, again + DISCOUNT * (types - (again > 0)))
        predicted = np.where(others > 0, mixed, predicted)
    return predicted
