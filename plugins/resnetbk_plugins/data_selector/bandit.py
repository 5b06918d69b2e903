"""Data selector `bandit`: groups of windows by the losses that training has seen of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, gt, le

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.layout import APART, Layout, generator
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array


@attrs.frozen(kw_only=True)
class Bandit:
    """Groups of windows, such as skills or numbers of hops, chosen as by an adversarial bandit:
    what has a large loss comes more often (online data mixing, ODM: Albalak et al. 2023, arXiv:2312.02406,
    where the reward of a group is its training loss). It costs no forward pass.

    ODM's EXP3 sees one group a step and divides rewards by probabilities; here a batch shows many groups, so
    that each has an average of its losses, and shares are proportional to these. As in ODM a group that
    cannot be learned keeps a large share; `excess-loss` does not train on noise.

    uniform  share of each batch that all groups divide equally: each has at least uniform / groups of it
    rate     weight of the latest batch in a group's exponential moving average of losses
    """

    uniform: float = attrs.field(default=0.2, validator=and_(gt(0.0), le(1.0)))
    rate: float = attrs.field(default=0.2, validator=and_(gt(0.0), le(1.0)))

    def build(
        self, *, tokens: Array, window: int, batch: int, seed: int, groups: Array | None = None
    ) -> BanditSelector:
        """tokens (T,), as encoded; groups (T,) integers, of the window that starts at each, all one if None.
        Raises UserError for fewer than window + 1 tokens."""
        shuffle = Shuffle().build(tokens=tokens, window=window, batch=batch, seed=seed)
        return BanditSelector(self.uniform, self.rate, shuffle, groups)


class BanditSelector:
    """Windows stay at the same place in the text for the whole run; those of a group come in exact epochs.

    members  for each of the K groups that there are windows of, (count,) window numbers
    loss     (K,) float64: average loss of each group, nats/token; NaN before the first
    taken    (K,) int64: the number of windows drawn from each group so far
    """

    def __init__(self, uniform: float, rate: float, shuffle: ShuffleSelector, groups: Array | None) -> None:
        """`groups` as in `Bandit.build`."""
        self.uniform, self.rate = uniform, rate
        self.batch, self.seed, self.layout = shuffle.batch, shuffle.seed, Layout.like(shuffle)
        starts = self.layout.windows(np.arange(self.layout.count)).starts
        of_windows = np.zeros(len(starts), np.int64) if groups is None else groups[starts]
        names, self.group = np.unique(of_windows, return_inverse=True)
        self.members = [np.flatnonzero(self.group == k) for k in range(len(names))]
        # each draws places among the members: windows of one token in a text of as many tokens
        self.orders = [
            ShuffleSelector(total=len(members) + 1, window=1, batch=1, seed=self.seed + APART + k)
            for k, members in enumerate(self.members)
        ]
        self.loss = np.full(len(names), np.nan)
        self.taken = np.zeros(len(names), np.int64)

    def shares(self) -> Array:
        """(K,) of a batch, which add up to 1. A group without a loss has the mean of the others."""
        known = self.loss[~np.isnan(self.loss)]
        loss = np.where(np.isnan(self.loss), known.mean() if len(known) else 1.0, self.loss)
        loss = loss if loss.sum() > 0 else np.ones_like(loss)
        shares: Array = self.uniform / len(loss) + (1.0 - self.uniform) * loss / loss.sum()
        return shares

    def select(self, context: SelectionContext) -> Windows:
        """starts (batch,) int64. The shares are rounded to windows by one random offset for all of them."""
        draw = generator(self.seed, context.step)
        places = (np.arange(self.batch) + draw.random()) / self.batch
        counts = np.diff(np.searchsorted(places, self.shares().cumsum()[:-1]), prepend=0, append=self.batch)
        drawn = [
            members[order.starts(int(taken), count)]
            for members, order, taken, count in zip(
                self.members, self.orders, self.taken, counts.tolist(), strict=True
            )
        ]
        self.taken += counts
        return self.layout.windows(draw.permutation(np.concatenate(drawn)))

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        group = self.group[self.layout.numbers(windows)]
        counts = np.bincount(group, minlength=len(self.loss))
        seen = counts > 0
        mean = np.bincount(group, losses.astype(np.float64), len(self.loss))[seen] / counts[seen]
        before = np.where(np.isnan(self.loss[seen]), mean, self.loss[seen])
        self.loss[seen] = before + self.rate * (mean - before)

    def state(self) -> dict[str, Array]:
        return {"loss": self.loss.copy(), "taken": self.taken.copy()}

    def restore(self, state: dict[str, Array]) -> None:
        self.loss, self.taken = state["loss"].copy(), state["taken"].copy()
