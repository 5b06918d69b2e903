"""Data selector `reverse`: hard windows first, the control of a curriculum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from resnetbk_plugins.data_selector.curriculum import Curriculum, PacedSelector

if TYPE_CHECKING:
    from resnetbk.kinds import Array


@attrs.frozen(kw_only=True)
class Reverse(Curriculum):
    """The hardest windows first. All else, and every key, is as in `curriculum`: what a curriculum gains over
    `shuffle` and this one does not is due to the order; what both gain is due to something else."""

    def build(self, *, tokens: Array, window: int, batch: int, seed: int) -> PacedSelector:
        """As `Curriculum.build`."""
        return PacedSelector.by(self, tokens=tokens, window=window, batch=batch, seed=seed, descending=True)
