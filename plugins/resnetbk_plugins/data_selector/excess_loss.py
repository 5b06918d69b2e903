"""Data selector `excess-loss`: the windows whose loss has most left to lose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, gt, le

from resnetbk.kinds import Turn, Windows
from resnetbk_plugins.data_selector.difficulty import window_nats
from resnetbk_plugins.data_selector.layout import APART, Layout
from resnetbk_plugins.data_selector.mixing import uniform_windows
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array

LEVEL_RATE = 0.1
"""How fast the mean excess is followed, for each step."""


@attrs.frozen(kw_only=True)
class ExcessLoss:
    """Of random candidates, those with the largest reducible loss (RHO-LOSS: Mindermann et al. 2022,
    arXiv:2206.07137): the model's loss less what cannot be learned, for which stands the loss of n-grams that
    left each token out. Noise is as hard for those; it is passed over.

    No window is ever scored: losses are those met in training, and n-grams are counted once before it. As all
    losses fall with time, what is kept of a window is by how much its excess was above the mean excess of
    its day; what has not been seen counts as average. Windows keep their place for the whole run.

    pool     candidates for every window that is chosen; in exact epochs
    uniform  share of each batch that is not chosen: rounded to windows, and at least one, in exact epochs, so
             that all windows get seen. The mean excess is theirs
    rate     the weight of the latest loss in a window's exponential average, which begins as average
    """

    pool: float = attrs.field(default=4.0, validator=ge(1.0))
    uniform: float = attrs.field(default=0.25, validator=and_(ge(0.0), le(1.0)))
    rate: float = attrs.field(default=0.5, validator=and_(gt(0.0), le(1.0)))

    def build(self, *, tokens: Array, window: int, batch: int, seed: int) -> ExcessLossSelector:
        """tokens (T,), as encoded. Raises UserError for fewer than window + 1 of them."""
        layout = Layout.like(Shuffle().build(tokens=tokens, window=window, batch=batch, seed=seed))
        uniform = uniform_windows(self.uniform, batch)
        chosen = batch - uniform

        def numbers(size: int, seed: int) -> ShuffleSelector:
            # windows of one token in as many tokens as there are windows, and one to predict: their numbers
            return ShuffleSelector(total=layout.count + 1, window=1, batch=size, seed=seed)

        return ExcessLossSelector(
            layout,
            irreducible=window_nats(tokens, layout),
            uniform=numbers(uniform, seed),
            candidates=numbers(math.ceil(self.pool * chosen), seed + APART),
            chosen=chosen,
            rate=self.rate,
        )


class ExcessLossSelector:
    """The uniform windows of a batch come first.

    excess  (count,) float32: of each window, how much more of it is left to learn than of the mean; 0 unseen
    level   the mean excess, followed; not a number before the first step
    """

    def __init__(
        self,
        layout: Layout,
        *,
        irreducible: Array,
        uniform: ShuffleSelector,
        candidates: ShuffleSelector,
        chosen: int,
        rate: float,
    ) -> None:
        self.layout = layout
        self.irreducible = irreducible
        self.uniform = uniform
        self.candidates = candidates
        self.chosen = chosen
        self.rate = rate
        self.excess = np.zeros(layout.count, np.float32)
        self.level = math.nan

    def select(self, turn: Turn) -> Windows:
        """starts (batch,) int64. Among equals, as the unseen are, candidates come in their random order."""
        candidates = self.candidates.select(turn).starts
        ranks = np.argsort(-self.excess[candidates], kind="stable")[: self.chosen]
        return self.layout.windows(np.concatenate([self.uniform.select(turn).starts, candidates[ranks]]))

    def observe(self, turn: Turn, windows: Windows, losses: Array) -> None:
        numbers = self.layout.numbers(windows)
        excess = losses - self.irreducible[numbers]
        mean = float(excess[: self.uniform.batch or None].mean(dtype=np.float64))
        self.level = mean if math.isnan(self.level) else self.level + LEVEL_RATE * (mean - self.level)
        # a window that is twice in the batch learns from its last loss
        self.excess[numbers] += self.rate * (excess - self.level - self.excess[numbers])

    def state(self) -> dict[str, Array]:
        return {"excess": self.excess.copy(), "level": np.array(self.level)}

    def restore(self, state: dict[str, Array]) -> None:
        self.excess, self.level = state["excess"].copy(), float(state["level"])
