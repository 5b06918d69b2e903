"""The working object of `cached`."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from torch import Tensor

from resnetbk.kinds import Batch, BatchLoss, Weight
from resnetbk_plugins.gradient_strategy.backprop_module import BackpropGradients
from resnetbk_plugins.gradient_strategy.gradient_vectors import (
    Gradients,
    cosine,
    dot,
    packed,
    read_gradients,
    set_gradients,
    unpacked,
)
from resnetbk_plugins.gradient_strategy.micro_batches import evaluated

if TYPE_CHECKING:
    from resnetbk.kinds import Array

BUCKETS = 4096
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio, for multiplicative hashing."""

MEASURED = 3
"""Least number of samples for a decision by the mean of cosines."""

RECENT = 10
"""Samples that the running mean of cosines covers, about."""


@attrs.define(eq=False)
class Entry:
    """The gradient of a step, the histogram of its batch, and how often it was reused."""

    histogram: Array
    gradients: Gradients
    step: int
    uses: int = 0


class CachedGradients(BackpropGradients):
    """Whether a step reuses is a function of its batch and of `state()`.

    mean, batches   of the histograms of all batches so far
    hits, measured  batches with a cached gradient to reuse, and those of them that were measured
    agreement       the running mean of measured cosines
    off             whether reuse has ended
    """

    def __init__(
        self,
        weights: Sequence[Weight],
        similarity: float,
        age: int,
        count: int,
        sample: float,
        cosine: float,
        accumulate: int,
    ) -> None:
        super().__init__(weights, accumulate)
        self.similarity, self.age, self.count = similarity, age, count
        self.sample, self.cosine = sample, cosine
        self.mean = np.zeros(BUCKETS)
        self.batches = self.hits = self.measured = 0
        self.agreement = 1.0
        self.off = False
        self.entries: list[Entry] = []

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], BatchLoss]) -> BatchLoss:
        """The objective of this batch; its gradient, or that of a similar batch."""
        if self.off:
            return super().gradients(step, batch, objective)
        histogram = bigrams(batch.inputs)
        self.batches += 1
        self.mean += (histogram - self.mean) / self.batches
        self.entries = [e for e in self.entries if step - e.step <= self.age]
        cached = self._similar(histogram)
        if cached is None:
            return self._fresh(step, batch, objective, histogram)
        number, sample = self.hits, self.sample
        self.hits += 1
        if math.ceil(number * sample) < math.ceil((number + 1) * sample):
            result = self._fresh(step, batch, objective, histogram, cached)
        else:
            result = self.micro_batches.run(
                batch.inputs.device,
                len(batch.inputs),
                lambda count: evaluated(batch, objective, count),
            )
            set_gradients(self.parameters, cached.gradients)
            cached.uses += 1
        self.entries = [e for e in self.entries if e.uses < self.count]
        return result

    def _similar(self, histogram: Array) -> Entry | None:
        """The most similar entry, the newest among equals, if it is similar enough."""
        best, most = None, self.similarity
        for entry in self.entries:
            similarity = _cosine(histogram - self.mean, entry.histogram - self.mean)
            if similarity >= most:
                best, most = entry, similarity
        return best

    def _fresh(
        self,
        step: int,
        batch: Batch,
        objective: Callable[[Batch], BatchLoss],
        histogram: Array,
        cached: Entry | None = None,
    ) -> BatchLoss:
        """Differentiates and stores the gradient; measures `cached`, which would have been reused instead."""
        result = super().gradients(step, batch, objective)
        gradients = read_gradients(self.parameters)
        if math.isfinite(
            dot(gradients, gradients)
        ):  # the trainer refuses such a step: it is not to be reused
            if cached is not None:
                self.entries.remove(cached)
                self._measure(cosine(cached.gradients, gradients))
            self.entries.append(Entry(histogram, gradients, step))
        if self.off:
            self.entries.clear()
        return result

    def _measure(self, agreement: float) -> None:
        self.measured += 1
        self.agreement += (agreement - self.agreement) / min(self.measured, RECENT)
        if self.measured >= MEASURED and self.agreement < self.cosine:
            self.off = True
            logging.getLogger("resnetbk").warning(
                "cached gradients have a mean cosine of only %.2f with fresh gradients; no more are reused "
                "(%d were, in %d steps)",
                self.agreement,
                self.hits - self.measured,
                self.batches,
            )

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            **{name: getattr(self, name) for name in STATE},
            "entries": [
                {**attrs.asdict(entry, recurse=False), "gradients": packed(entry.gradients)}
                for entry in self.entries
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        for name in STATE:
            setattr(self, name, state[name])
        self.entries = [
            Entry(**{**entry, "gradients": unpacked(entry["gradients"], self.parameters)})
            for entry in state["entries"]
        ]


STATE = ("mean", "batches", "hits", "measured", "agreement", "off")


def bigrams(inputs: Tensor) -> Array:
    """(B, N) tokens -> (BUCKETS,): the share of each hashed bigram; of each token, where N is 1."""
    tokens = inputs.cpu().numpy().astype(np.uint64)
    pairs = tokens[:, :-1] * np.uint64(1 << 32) + tokens[:, 1:] if tokens.shape[1] > 1 else tokens
    buckets = (pairs * GOLDEN >> np.uint64(64 - 12)).astype(np.int64)
    return np.bincount(buckets.ravel(), minlength=BUCKETS) / buckets.size


def _cosine(a: Array, b: Array) -> float:
    """0 when a or b is zero."""
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(-1.0, min(1.0, float(a @ b) / scale)) if scale else 0.0
