"""Data selector `baby-steps`: one group of windows after another, as soon as the one before is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, gt, le

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.bandit import BanditSelector
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array


@attrs.frozen(kw_only=True)
class BabySteps:
    """Groups in their order, such as numbers of hops: the first alone, then the next one too, and so on until
    all are in use with equal shares (Spitkovsky, Alshawi & Jurafsky 2010, "From Baby Steps to Leapfrog",
    NAACL). A group is added as soon as training losses of the one before are low, or at the latest by
    progress. It costs no forward pass.

    at_loss  nats/token, in a task nats/label: the average training loss of the newest group from which the
             next one is added
    until    share of the run at which all groups are in use at the latest; each takes an equal part of it
    rate     weight of the latest batch in a group's exponential moving average of losses
    """

    at_loss: float = attrs.field(default=0.3, validator=gt(0.0))
    until: float = attrs.field(default=0.5, validator=and_(gt(0.0), le(1.0)))
    rate: float = attrs.field(default=0.2, validator=and_(gt(0.0), le(1.0)))

    def build(
        self, *, tokens: Array, window: int, batch: int, seed: int, groups: Array | None = None
    ) -> BabyStepsSelector:
        """tokens (T,), as encoded; groups (T,) integers, of the window that starts at each, all one if None.
        Raises UserError for fewer than window + 1 tokens."""
        shuffle = Shuffle().build(tokens=tokens, window=window, batch=batch, seed=seed)
        return BabyStepsSelector(self, shuffle, groups)


class BabyStepsSelector(BanditSelector):
    """The draws of `bandit`, with shares for the first `used` groups alone, which only grows."""

    def __init__(self, keys: BabySteps, shuffle: ShuffleSelector, groups: Array | None) -> None:
        super().__init__(1.0, keys.rate, shuffle, groups)
        self.keys = keys
        self.used = 1

    def shares(self) -> Array:
        """(K,) of a batch, which add up to 1."""
        return (np.arange(len(self.loss)) < self.used) / self.used

    def select(self, context: SelectionContext) -> Windows:
        """starts (batch,) int64."""
        due = 1 + int(context.progress / self.keys.until * len(self.loss))
        self.used = min(len(self.loss), max(self.used, due))
        return super().select(context)

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        super().observe(context, windows, losses)
        if self.loss[self.used - 1] <= self.keys.at_loss:
            self.used = min(len(self.loss), self.used + 1)

    def state(self) -> dict[str, Array]:
        return {**super().state(), "used": np.array(self.used)}

    def restore(self, state: dict[str, Array]) -> None:
        super().restore(state)
        self.used = int(state["used"])
