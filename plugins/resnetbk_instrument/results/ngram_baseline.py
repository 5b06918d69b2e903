"""The n-gram baseline: how well an n-gram model, which only counts, predicts the held-out tokens.

The model is interpolated Kneser-Ney with three discounts an order (Chen and Goodman, "An Empirical Study
of Smoothing Techniques for Language Modeling", 1999, "modified Kneser-Ney"): for a context h and its tail h'

    p(w | h) = (c(hw) - D(c(hw)) + S(h) p(w | h')) / c(h),    S(h) = sum of D(c(hv)) over the v seen after h

c counts occurrences at the highest order and, below it, the different tokens that stand before an n-gram.
Below order 1 stands the uniform distribution, and an unseen h leaves p(w | h'). Each p sums to 1 over w.

`ngram_baseline` is what a report calls: it remembers results, and what they cost, in `cache_folder()`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from resnetbk.cache import cache_folder
from resnetbk.errors import StorageError, UserError
from resnetbk.files import read_file, replacing, with_crc, without_crc

if TYPE_CHECKING:
    from resnetbk.training.data import Data

Array = np.ndarray[Any, Any]

ORDERS = (1, 2, 7)
LARGEST = 1 << 25
"""Tokens that are counted at most: counting holds several arrays of them in memory."""

_METHOD = "modified-kneser-ney-1"  # part of every cache key: results of another method are not found


def gram_name(order: int) -> str:
    """`unigram`, `bigram`, `3-gram`."""
    return {1: "unigram", 2: "bigram"}.get(order, f"{order}-gram")


@attrs.frozen
class NgramBaseline:
    """Nats per held-out token for each order, and what they cost.

    `seconds` is the wall time of this call; `counted_seconds` that of the counting itself, also when
    it was done by an earlier call (`cached`), so that an all-in cost can always include it.
    """

    nats: dict[int, float]
    seconds: float
    counted_seconds: float
    cached: bool


def baseline_nats(data: Data) -> dict[int, float]:
    """`ngram_baseline` of a text's tokens, nats/token by order; nothing for a task, which asks otherwise."""
    if data.text.task:
        return {}
    return ngram_baseline(data.train, data.valid, data.tokenizer.vocabulary).nats


def ngram_baseline(
    train: Array, valid: Array, vocabulary: int, orders: Sequence[int] = ORDERS
) -> NgramBaseline:
    """`nats_per_token`, remembered by the sha256 of all it depends on. A cache that fails is only slower.

    A text of more than LARGEST tokens, which may be larger than memory, has no ngram_baseline.
    """
    start = time.perf_counter()
    if len(train) + len(valid) > LARGEST:
        return NgramBaseline({}, 0.0, 0.0, cached=False)
    key = _key(train, valid, vocabulary, orders)
    found = _remembered(key, orders)
    if found is not None:
        nats, counted = found
        return NgramBaseline(nats, time.perf_counter() - start, counted, cached=True)
    begin = time.perf_counter()
    nats = nats_per_token(train, valid, vocabulary, orders)
    counted = time.perf_counter() - begin
    _remember(key, nats, counted)
    return NgramBaseline(nats, time.perf_counter() - start, counted, cached=False)


def kneser_ney(train: Array, valid: Array, vocabulary: int, order: int = 7) -> float:
    """Cross-entropy in nats per token of `valid` (T,) under the model of `train`; see `nats_per_token`."""
    return nats_per_token(train, valid, vocabulary, (order,))[order]


def nats_per_token(
    train: Array, valid: Array, vocabulary: int, orders: Sequence[int] = ORDERS
) -> dict[int, float]:
    """Nats per token for each order, mean over the T - 1 tokens of `valid` that have one before them.

    Raises UserError when `valid` has fewer than two tokens; ValueError on tokens outside the vocabulary.
    """
    if np.size(valid) < 2:
        raise UserError(f"the held-out text has {np.size(valid)} token(s); at least 2 are needed to score it")
    predicted = probabilities(train, valid, vocabulary, orders)
    return {order: float(-np.log(predicted[order]).mean()) for order in orders}


def probabilities(train: Array, valid: Array, vocabulary: int, orders: Sequence[int]) -> dict[int, Array]:
    """For each order (T - 1,): the probability of each token of `valid` but the first, given up to
    order - 1 tokens before it, none of them from `train`. One pass counts for all orders."""
    train, valid = _tokens(train, vocabulary), _tokens(valid, vocabulary)
    if not orders or min(orders) < 1:
        raise ValueError(f"orders must be 1 or more, got {tuple(orders)}")
    result: dict[int, Array] = {}
    lower = np.full(max(len(valid) - 1, 0), 1.0 / vocabulary)  # the model one order below, at each position
    # The id of the n-gram that ends at each position of train and of valid, here for n = 1; ids are shared,
    # and `context` maps an n-gram's id to the id of its first n - 1 tokens.
    seen, asked = train, valid
    counts, context = np.bincount(seen, minlength=vocabulary), np.zeros(vocabulary, dtype=np.int64)
    for n in range(1, max(orders) + 1):
        first = max(n - 2, 0)  # the first position whose context is long enough; earlier ones keep `lower`
        grams = asked[1:] if n == 1 else asked
        if n in orders:
            result[n] = lower.copy()
            result[n][first:] = _interpolate(counts, context, grams, lower[first:])
        if n == max(orders):
            break
        keys = np.concatenate([seen[:-1] * vocabulary + train[n:], asked[:-1] * vocabulary + valid[n:]])
        unique, ids = np.unique(keys, return_inverse=True)
        longer, asked = np.split(ids, [len(seen[:-1])])
        longer_counts = np.bincount(longer, minlength=len(unique))
        tail = np.zeros(len(unique), dtype=np.int64)
        tail[longer] = seen[1:]
        continuations = np.bincount(tail[longer_counts > 0], minlength=len(counts))
        lower[first:] = _interpolate(continuations, context, grams, lower[first:])
        seen, counts, context = longer, longer_counts, unique // vocabulary
    return result


def _interpolate(counts: Array, context: Array, grams: Array, lower: Array) -> Array:
    """One order of the model. counts, context (G,) of every n-gram; grams, lower and result (P,)."""
    discounts = _discounts(counts)[np.minimum(counts, 3)]
    total = np.bincount(context, weights=counts)[context[grams]]
    spread = np.bincount(context, weights=discounts)[context[grams]]
    mixed = counts[grams] - discounts[grams] + spread * lower
    return np.where(total > 0, mixed / np.maximum(total, 1), lower)


def _discounts(counts: Array) -> Array:
    """(4,) what to take from counts of 0, 1, 2, and 3 or more: D_k = k - (k + 1) Y n_{k+1} / n_k with
    Y = n_1 / (n_1 + 2 n_2), n_k the n-grams counted k times. Where those are too few to tell, 0.75.
    At least 0.1 is always taken: else what was never seen could get probability 0."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    result = np.array([0.0, 0.75, 0.75, 0.75])
    for k in (1, 2, 3):
        if n[1] and n[2] and n[k] and n[k + 1]:
            ratio = n[1] / (n[1] + 2 * n[2])
            result[k] = np.clip(k - (k + 1) * ratio * n[k + 1] / n[k], 0.1, k)
    return result


def _tokens(tokens: Array, vocabulary: int) -> Array:
    tokens = np.asarray(tokens).astype(np.int64)
    if tokens.ndim != 1 or (tokens.size and not 0 <= tokens.min() <= tokens.max() < vocabulary):
        raise ValueError(f"tokens must be one row of integers in [0, {vocabulary})")
    return tokens


# ---------------------------------------------------------------- the cache


def _key(train: Array, valid: Array, vocabulary: int, orders: Sequence[int]) -> str:
    digest = hashlib.sha256(f"{_METHOD} {vocabulary} {sorted(set(orders))}".encode())
    for tokens in map(np.ascontiguousarray, (train, valid)):
        digest.update(f" {tokens.dtype.str} {tokens.shape} ".encode())
        digest.update(tokens.data)
    return digest.hexdigest()


def _path(key: str) -> Path:
    return cache_folder() / "ngram-baseline" / f"{key}.json"


def _remembered(key: str, orders: Sequence[int]) -> tuple[dict[int, float], float] | None:
    try:
        entry = without_crc(read_file(_path(key)))
        return None if entry is None else ({n: entry["nats"][str(n)] for n in orders}, entry["seconds"])
    except (StorageError, KeyError, RuntimeError):
        return None  # nothing there, or damaged: count again


def _remember(key: str, nats: dict[int, float], seconds: float) -> None:
    entry = with_crc({"nats": {str(order): value for order, value in nats.items()}, "seconds": seconds})
    with suppress(OSError, RuntimeError):  # a cache that cannot be written costs time, never a run
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, path.with_name(f".new-{os.urandom(8).hex()}")) as file:
            file.write(json.dumps(entry).encode())
