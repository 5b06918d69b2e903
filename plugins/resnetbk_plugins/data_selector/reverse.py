"""Data selector `reverse`: hard windows first, the control of a curriculum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from resnetbk_plugins.data_selector.curriculum import Curriculum, PacedSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array


@attrs.frozen(kw_only=True)
class Reverse(Curriculum):
    """The hardest windows first; everything else, and every key, is as in `curriculum`. A gain over `shuffle`
    that `curriculum` has and `reverse` has not is due to the order; a gain of both is not."""

    def build(self, *, tokens: Array, window: int, batch: int, seed: int) -> PacedSelector:
        """As `Curriculum.build`."""
        return PacedSelector.by(self, tokens=tokens, window=window, batch=batch, seed=seed, descending=True)
