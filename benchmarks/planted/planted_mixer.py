"""bk-causal that dawdles: what it costs is known, so an instrument that does not find it is wrong."""

from __future__ import annotations

import time

import attrs
from torch import Tensor, nn

from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal


@attrs.frozen(kw_only=True)
class Dawdles(BKCausal):
    """bk-causal whose training steps take `factor` times as long. For one layer."""

    factor: float = 1.3

    def build(self, *, width: int, depth: int) -> nn.Module:
        module = super().build(width=width, depth=depth)
        module.register_forward_pre_hook(Dawdler(self.factor - 1))
        return module


class Dawdler:
    """Waits for `share` of the time since it last went on, which is one step.

    It keeps its core busy meanwhile: after a sleep the work itself would be slower, by an unknown amount.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.went_on: float | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not module.training:
            return
        now = time.perf_counter()
        if self.went_on is not None:
            end = now + self.share * (now - self.went_on)
            while now < end:
                now = time.perf_counter()
        self.went_on = now
