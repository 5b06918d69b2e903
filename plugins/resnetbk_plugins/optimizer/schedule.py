"""The learning rate schedule, which the optimizers share."""

from __future__ import annotations

import math
from typing import Any

import attrs

from resnetbk.errors import nearest

DECAYS = ("linear", "cosine", "constant")


@attrs.frozen
class Schedule:
    """Warm up, hold, decay.

    warmup       steps over which the rate rises linearly: step s of w runs at (s + 1) / (w + 1) of the peak
    decay        `linear`, `cosine` (Loshchilov & Hutter, 2016) or `constant`
    decay_share  the share of the run, at its end, over which the rate decays; never during warmup
    final        the rate at the end of the run, as a share of its peak

    nanoGPT's recipe is warmup 100, decay "cosine", decay_share 1, final 0.1.
    """

    warmup: int = 0
    decay: str = "linear"
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


def rate(component: object, attribute: attrs.Attribute[float], value: float) -> None:
    """An attrs validator: in (0, 1e38], about the range of float32."""
    if not 0.0 < value <= 1e38:
        raise ValueError(f"{attribute.name} must be above 0 and at most 1e38, not {value!r}")


def known_decay(component: object, attribute: attrs.Attribute[str], value: str) -> None:
    """An attrs validator: one of `DECAYS`."""
    if value not in DECAYS:
        raise ValueError(f"unknown decay {value!r}{nearest(value, DECAYS)}")


def share(component: object, attribute: attrs.Attribute[float], value: float) -> None:
    """An attrs validator: in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{attribute.name} must be between 0 and 1, not {value}")


def positive_share(component: object, attribute: attrs.Attribute[float], value: float) -> None:
    """An attrs validator: in (0, 1]."""
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{attribute.name} must be above 0 and at most 1, not {value}")


def decay_rates(component: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """An attrs validator: a number in [0, 1), or a tuple of such numbers."""
    if not all(0.0 <= rate < 1.0 for rate in (value if isinstance(value, tuple) else (value,))):
        raise ValueError(f"{attribute.name} must be at least 0 and below 1, not {value}")
