"""Data selector `excess-loss`: the windows with the largest reducible loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, gt, le

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.difficulty import window_nats
from resnetbk_plugins.data_selector.layout import APART, Layout
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector
from resnetbk_plugins.data_selector.uniform import uniform_windows

if TYPE_CHECKING:
    from resnetbk.kinds import Array

MEMORY = 0.8
"""Weight, at each step, of all earlier steps' sums against the new batch's."""


@attrs.frozen(kw_only=True)
class ExcessLoss:
    """Of random candidates, those with the largest reducible loss (RHO-LOSS: Mindermann et al. 2022,
    arXiv:2206.07137): the model's loss minus the irreducible loss, estimated by n-grams that leave each token
    out of their counts. Noise is hard for n-grams too, so it is not selected.

    There are no extra forward passes: losses are those of training, and n-grams are counted once before it.
    As all losses fall with time, a window's excess is stored relative to the mean excess of its batch. A
    window not trained on yet, as most in the first epoch, is predicted from its n-gram loss, by a regression
    line through recent excess losses. Windows stay at the same place in the text for the whole run.

    pool     candidates per selected window; drawn in exact epochs
    uniform  share of each batch that is drawn uniformly: rounded to windows, and at least one, in exact
             epochs, so that all windows are seen. The mean and the line are computed over these
    rate     weight of the latest loss in a window's exponential moving average, which starts on the line
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
            # draws window numbers: windows of one token in a text of as many tokens as there are windows
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

    excess  (count,) float32: the excess loss of each window relative to the mean; NaN before the window was
            trained on
    sums    (5,) float64, decaying sums over windows of 1, x, y, xx and xy, where x is the n-gram loss in
            nats/token and y the model's excess over it
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
        """starts (batch,) int64. Ties, as of all windows before the first losses, keep the candidates' random
        order."""
        candidates = self.candidates.select(context).starts
        ranks = np.argsort(-self._relative_excess(candidates), kind="stable")[: self.chosen]
        return self.layout.windows(np.concatenate([self.uniform.select(context).starts, candidates[ranks]]))

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        numbers = self.layout.numbers(windows)
        x = self.irreducible[numbers].astype(np.float64)
        y = losses - x
        uniform = np.s_[: self.uniform.batch or None]
        batch = np.stack([np.ones_like(x), x, y, x * x, x * y])[:, uniform].sum(1)
        self.sums = MEMORY * self.sums + batch
        # of a window that is twice in the batch, the last loss counts
        before = self._relative_excess(numbers)
        self.excess[numbers] = before + self.rate * (y - self.sums[2] / self.sums[0] - before)

    def _relative_excess(self, numbers: Array) -> Array:
        """The excess of some windows relative to the mean: stored, or predicted by the line."""
        n, x, y, xx, xy = self.sums
        spread = n * xx - x * x
        # windows of equal n-gram loss give no slope
        slope = (n * xy - x * y) / spread if spread > 1e-6 * n * xx else 0.0
        line = slope * (self.irreducible[numbers] - (x / n if n else 0.0))
        return np.where(np.isnan(self.excess[numbers]), line, self.excess[numbers])

    def state(self) -> dict[str, Array]:
        return {"excess": self.excess.copy(), "sums": self.sums.copy()}

    def restore(self, state: dict[str, Array]) -> None:
        self.excess, self.sums = state["excess"].copy(), state["sums"].copy()
