"""Data selector `curriculum`: easy windows first (Bengio et al., "Curriculum learning", 2009)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs.validators import and_, ge, gt, in_, le

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.difficulty import MEASURES, difficulty
from resnetbk_plugins.data_selector.layout import Layout, generator
from resnetbk_plugins.data_selector.pacing import PACINGS, share
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array, ParentCosts

STALLED = 0.01
"""The probe's loss has stalled when it improved by less than this share of itself."""

JUMP = 0.1
"""How far a stall advances the pacing, as a share of the way from `start` to all windows."""

PROBE_SHARE = 0.1
"""The largest share of all windows that the probe may be."""


@attrs.frozen(kw_only=True)
class Curriculum:
    """The easiest windows first, more of them as the run proceeds, then all of them as in `shuffle`.

    measure    of difficulty, computed once before training: "ngram", leave-one-out nats/token under n-grams;
               "rarity", the same under unigrams; "compressibility", bytes per token after zlib; "loss", under
               the run in the folder `reference`
    pacing     how the share of windows in use grows: "linear"; "root", slower as it grows, so that all new
               windows are trained on for as long (Platanios et al. 2019, arXiv:1903.09848); or "step", all
               of them at `until` (Hacohen and Weinshall 2019, arXiv:1904.03626)
    start      that share at the beginning
    until      the share of the run at which all windows are in use
    probe      number of windows, at most a tenth of all, that are not trained on until all others are in use:
               they are evaluated every `every` steps, and when their loss improved by less than 1 % since the
               last evaluation, the pacing advances by a tenth of the whole way. 0 paces by progress alone
    every      steps between two evaluations of the probe
    reference  the folder of a run that was trained on the same corpus and tokenizer, a parent run: its cost
               is recorded beside this run's own, and a comparison charges it
    """

    measure: str = attrs.field(default="ngram", validator=in_(MEASURES))
    pacing: str = attrs.field(default="linear", validator=in_(PACINGS))
    start: float = attrs.field(default=0.2, validator=and_(gt(0.0), le(1.0)))
    until: float = attrs.field(default=0.5, validator=and_(gt(0.0), le(1.0)))
    probe: int = attrs.field(default=16, validator=ge(0))
    every: int = attrs.field(default=25, validator=ge(1))
    reference: str = attrs.field(default="")

    @reference.validator
    def _is_for_losses(self, field: attrs.Attribute[Any], value: str) -> None:
        if (self.measure == "loss") != bool(value):
            wrong = "is used with measure = 'loss' only" if value else "must name a run for measure = 'loss'"
            raise ValueError(wrong)

    def build(self, *, tokens: Array, window: int, batch: int, seed: int) -> PacedSelector:
        """tokens (T,), as encoded. Raises UserError for fewer than window + 1 of them, and what
        `reference_losses` raises."""
        return PacedSelector.by(self, tokens=tokens, window=window, batch=batch, seed=seed)


class PacedSelector:
    """Batches from the first windows of an order; the pacing decides how many windows are in use.

    A pass ends when every window in use has been chosen once; none is chosen twice in a pass. Windows that
    come into use join the current pass. When all are in use, batches are those that `shuffle` would give at
    the same steps, and windows start at other offsets in every epoch, as there.

    order    (P,) numbers of the windows without the probe's
    used     (P,) bool: the windows chosen in this pass
    lead     what stalls have added to the pacing
    parents  what the reference run cost to train, by its folder, if there is one
    """

    def __init__(
        self,
        keys: Curriculum,
        shuffle: ShuffleSelector,
        layout: Layout,
        ranked: Array,
        parents: ParentCosts,
    ) -> None:
        self.parents = parents
        self.keys = keys
        self.shuffle = shuffle
        self.layout = layout
        # the probe has all difficulties: the ranks are cut into `size` equal parts, of each the middle
        size = min(keys.probe, int(PROBE_SHARE * layout.count))
        middles = ((np.arange(size) + 0.5) * layout.count / max(size, 1)).astype(np.int64)
        self.probe = layout.windows(ranked[middles])
        self.order = np.delete(ranked, middles)
        self.used = np.zeros(len(self.order), bool)
        self.lead = 0.0
        self.last = math.nan

    @classmethod
    def by(
        cls, keys: Curriculum, *, tokens: Array, window: int, batch: int, seed: int, descending: bool = False
    ) -> PacedSelector:
        """In the order of `keys.measure`, rising unless `descending`."""
        shuffle = Shuffle().build(tokens=tokens, window=window, batch=batch, seed=seed)
        layout = Layout.like(shuffle)
        hard, parents = difficulty(tokens, layout, keys.measure, keys.reference)
        ranked = np.argsort(-hard if descending else hard, kind="stable")
        return cls(keys, shuffle, layout, ranked.astype(np.min_scalar_type(layout.count)), parents)

    def select(self, context: SelectionContext) -> Windows:
        """starts (batch,) int64."""
        if self._share(context) < 1.0:
            self._evaluate_probe(context)
        now = self._share(context)
        if now >= 1.0:
            return self.shuffle.select(context)
        return self.layout.windows(self.order[self._draw(context.step, math.ceil(now * len(self.order)))])

    def _share(self, context: SelectionContext) -> float:
        return share(self.keys.pacing, self.keys.start, context.progress / self.keys.until + self.lead)

    def _evaluate_probe(self, context: SelectionContext) -> None:
        """Every `every` steps: scores the probe, and advances the pacing if its loss has stalled."""
        if context.step == 0 or context.step % self.keys.every or not len(self.probe.starts):
            return
        loss = float(context.score(self.probe).mean(dtype=np.float64))
        if loss > (1.0 - STALLED) * self.last:
            self.lead += JUMP
        self.last = loss

    def _draw(self, step: int, pool: int) -> Array:
        """(batch,) ranks below `pool`. A batch larger than `pool` takes several passes."""
        draw, drawn = generator(self.shuffle.seed, 1 + step), []
        missing = self.shuffle.batch
        while missing:
            unused = np.flatnonzero(~self.used[:pool])
            ranks = draw.choice(unused, min(missing, len(unused)), replace=False)
            self.used[ranks] = True
            if self.used[:pool].all():
                self.used[:] = False
            drawn.append(ranks)
            missing -= len(ranks)
        return np.concatenate(drawn)

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        """Training losses change nothing here."""

    def state(self) -> dict[str, Array]:
        """The order too: a reference run may have changed by the time a run is resumed."""
        return {
            "order": self.order.copy(),
            "probe": self.probe.starts.copy(),
            "used": self.used.copy(),
            "pace": np.array([self.lead, self.last]),
        }

    def restore(self, state: dict[str, Array]) -> None:
        self.order, self.used = state["order"].copy(), state["used"].copy()
        self.probe = Windows(starts=state["probe"].copy(), length=self.layout.window)
        self.lead, self.last = map(float, state["pace"])
