"""Data selector `active`: the windows that the model is least certain of (uncertainty sampling)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, in_, le, lt

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.layout import APART, generator
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector
from resnetbk_plugins.data_selector.uniform import uniform_windows

if TYPE_CHECKING:
    from resnetbk.kinds import Array

MEASURES = ("loss", "entropy", "margin")


@attrs.frozen(kw_only=True)
class Active:
    """Every few steps the model scores candidates; the next steps train on those it is least certain of
    (Settles, "Active learning literature survey", 2009; in batches: Kirsch et al. 2019, arXiv:1906.08158),
    mixed with uniformly drawn windows.

    Every score costs a forward pass over its window, about a third of training on it: a step costs
    (1 - uniform) pool / 3 more. Text that cannot be learned stays uncertain, above all by its loss: where
    there is much of it, this selector trains on noise; `excess-loss` does not.

    measure  of uncertainty, a mean over the window: "loss", "entropy" of the predictions, or "margin", the
             difference between the probabilities of the two most probable tokens (small is uncertain)
    pool     candidates per selected window; drawn in exact epochs
    refresh  steps for which one scoring selects windows
    uniform  share of each batch that is drawn uniformly, continuing the epochs of the warmup: rounded to
             windows, and at least one, so that all windows are seen
    warmup   share of the run in which all windows are as in `shuffle`, before scores mean anything
    """

    measure: str = attrs.field(default="entropy", validator=in_(MEASURES))
    pool: float = attrs.field(default=2.0, validator=ge(1.0))
    refresh: int = attrs.field(default=8, validator=ge(1))
    uniform: float = attrs.field(default=0.25, validator=and_(ge(0.0), le(1.0)))
    warmup: float = attrs.field(default=0.1, validator=and_(ge(0.0), lt(1.0)))

    def build(self, *, tokens: Array, window: int, batch: int, seed: int) -> ActiveSelector:
        """tokens (T,), as encoded. Raises UserError for fewer than window + 1 of them."""
        uniform = uniform_windows(self.uniform, batch)
        chosen = (batch - uniform) * self.refresh

        def shuffled(size: int, seed: int) -> ShuffleSelector:
            return Shuffle().build(tokens=tokens, window=window, batch=size, seed=seed)

        return ActiveSelector(
            self,
            shuffle=shuffled(batch, seed),
            uniform=uniform,
            candidates=shuffled(math.ceil(self.pool * chosen), seed + APART),
            chosen=chosen,
        )


class ActiveSelector:
    """The uniform windows of a batch come first.

    uniform  number of uniform windows in a batch
    queue    (chosen,) int64 starts for `refresh` steps, or (0,) before the first scoring
    place    the next step within the queue
    scoring  the number of scorings so far
    taken    the number of windows drawn uniformly so far: all of the warmup, then the uniform ones
    """

    def __init__(
        self,
        keys: Active,
        *,
        shuffle: ShuffleSelector,
        uniform: int,
        candidates: ShuffleSelector,
        chosen: int,
    ) -> None:
        self.keys = keys
        self.shuffle = shuffle
        self.uniform = uniform
        self.candidates = candidates
        self.chosen = chosen
        self.queue: Array = np.empty(0, np.int64)
        self.place = self.scoring = self.taken = 0

    def select(self, context: SelectionContext) -> Windows:
        """starts (batch,) int64."""
        if context.progress < self.keys.warmup or not self.chosen:
            return Windows(starts=self._draw_uniform(self.shuffle.batch), length=self.shuffle.window)
        if self.place == 0:
            self.queue = self._choose(context)
        per_step = self.chosen // self.keys.refresh
        chosen = self.queue[self.place * per_step : (self.place + 1) * per_step]
        self.place = (self.place + 1) % self.keys.refresh
        starts = np.concatenate([self._draw_uniform(self.uniform), chosen])
        return Windows(starts=starts, length=self.shuffle.window)

    def _draw_uniform(self, count: int) -> Array:
        """(count,) starts, in exact epochs over all calls."""
        self.taken += count
        return self.shuffle.starts(self.taken - count, count)

    def _choose(self, context: SelectionContext) -> Array:
        """(chosen,) starts of the candidates that the model is least certain of, in random order."""
        candidates = self.candidates.select(attrs.evolve(context, step=self.scoring)).starts
        self.scoring += 1
        scores = np.concatenate(
            [
                context.score(Windows(starts=piece, length=self.shuffle.window), self.keys.measure)
                for piece in np.split(
                    candidates, range(self.shuffle.batch, len(candidates), self.shuffle.batch)
                )
            ]
        )
        ranks = np.argsort(scores if self.keys.measure == "margin" else -scores, kind="stable")
        draw = generator(self.shuffle.seed, context.step)
        return draw.permutation(candidates[ranks[: self.chosen]])

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        """Training losses change nothing here: they are of windows already trained on."""

    def state(self) -> dict[str, Array]:
        return {"queue": self.queue.copy(), "counts": np.array([self.place, self.scoring, self.taken])}

    def restore(self, state: dict[str, Array]) -> None:
        self.queue = state["queue"].copy()
        self.place, self.scoring, self.taken = map(int, state["counts"])
