"""The learning rate schedule, which the optimizers share."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import attrs
from attrs.validators import and_, ge, gt, le, lt

Decay: TypeAlias = Literal["linear", "cosine", "constant"]
DECAYS = get_args(Decay)


@attrs.frozen
class Schedule:
    """Warm up, hold, decay: warmup-stable-decay (WSD; Hu et al., 2024, arXiv:2404.06395), also known as
    trapezoidal, where decay_share is below 1.

    warmup       steps over which the rate rises linearly: step s of w runs at (s + 1) / (w + 1) of the peak
    decay        `linear`, `cosine` (Loshchilov & Hutter, 2016) or `constant`
    decay_share  the share of the run, at its end, over which the rate decays; never during warmup
    final        the rate at the end of the run, as a share of its peak

    nanoGPT's recipe is warmup 100, decay "cosine", decay_share 1, final 0.1; one of WSD is warmup 100,
    decay "linear", decay_share 0.2, final 0.
    """

    warmup: int = 0
    decay: Decay = "linear"
    decay_share: float = 1.0
    final: float = 0.0

    def factor(self, step: int, progress: float) -> float:
        """The share of the peak rate at `step` (from 0), with `progress` of the run done, in [0, 1]."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        # The run may be limited by seconds: warmup's share of it is known only after warmup.
        warmed = self.warmup * progress / step if step else 0.0
        start = max(1.0 - self.decay_share, warmed)
        if self.decay == "constant" or progress <= start:
            return 1.0
        done = min(1.0, (progress - start) / (1.0 - start))
        left = 1.0 - done if self.decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return self.final + (1.0 - self.final) * left


RATE = and_(gt(0.0), le(1e38))  # about the range of float32
SHARE = and_(ge(0.0), le(1.0))
POSITIVE_SHARE = and_(gt(0.0), le(1.0))
DECAY_RATE = and_(ge(0.0), lt(1.0))
