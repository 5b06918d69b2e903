"""Data selector `excess-loss`: the windows whose loss has most left to lose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, gt, le

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.difficulty import window_nats
from resnetbk_plugins.data_selector.layout import APART, Layout
from resnetbk_plugins.data_selector.mixing import uniform_windows
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array

KEPT = 0.8
"""Of what earlier steps say of excess losses today, with each step."""


@attrs.frozen(kw_only=True)
class ExcessLoss:
    """Of random candidates, those with the largest reducible loss (RHO-LOSS: Mindermann et al. 2022,
    arXiv:2206.07137): the model's loss less what cannot be learned, for which stands the loss of n-grams that
    left each token out. Noise is as hard for those; it is passed over.

    No window is ever scored: losses are those met in training, and n-grams are counted once before it. As all
    losses fall with time, what is kept of a window is by how much its excess was above the mean excess of
    its day. A window that has not been met yet, as most in the first epoch, is taken for what windows that
    are as hard for n-grams turned out to be: a line through the excess losses of late. Windows keep their
    place for the whole run.

    pool     candidates for every window that is chosen; in exact epochs
    uniform  share of each batch that is not chosen: rounded to windows, and at least one, in exact epochs, so
             that all windows get seen. The mean and the line are theirs
    rate     the weight of the latest loss in a window's exponential average, which begins on the line
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

    excess  (count,) float32: of each window, how much more of it is left to learn than of the mean; not a
            number before it was met
    sums    (5,) float64, over the windows of late: of 1, x, y, xx and xy, where n-grams lose x nats a token,
            and the model y more
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
        self.excess = np.full(layout.count, math.nan, np.float32)
        self.sums = np.zeros(5)

    def select(self, context: SelectionContext) -> Windows:
        """starts (batch,) int64. Among equals, as all are before the first losses, candidates come in their
        random order."""
        candidates = self.candidates.select(context).starts
        ranks = np.argsort(-self._known(candidates), kind="stable")[: self.chosen]
        return self.layout.windows(np.concatenate([self.uniform.select(context).starts, candidates[ranks]]))

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        numbers = self.layout.numbers(windows)
        x = self.irreducible[numbers].astype(np.float64)
        y = losses - x
        fair = np.s_[: self.uniform.batch or None]
        today = np.stack([np.ones_like(x), x, y, x * x, x * y])[:, fair].sum(1)
        self.sums = KEPT * self.sums + today
        # a window that is twice in the batch learns from its last loss
        known = self._known(numbers)
        self.excess[numbers] = known + self.rate * (y - self.sums[2] / self.sums[0] - known)

    def _known(self, numbers: Array) -> Array:
        """How far the excess of some windows lies above the mean: as met, or else as on the line."""
        n, x, y, xx, xy = self.sums
        spread = n * xx - x * x
        # windows that n-grams find all alike tell of no slope
        slope = (n * xy - x * y) / spread if spread > 1e-6 * n * xx else 0.0
        line = slope * (self.irreducible[numbers] - (x / n if n else 0.0))
        return np.where(np.isnan(self.excess[numbers]), line, self.excess[numbers])

    def state(self) -> dict[str, Array]:
        return {"excess": self.excess.copy(), "sums": self.sums.copy()}

    def restore(self, state: dict[str, Array]) -> None:
        self.excess, self.sums = state["excess"].copy(), state["sums"].copy()
