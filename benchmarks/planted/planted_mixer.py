"""bk-causal with a known slowdown, which a correct instrument must measure."""

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
    """Waits for `share` of the time since the end of its last wait, which is one step.

    It waits busily: after a sleep the work itself would be slower, by an unknown amount.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.resumed: float | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not module.training:
            return
        now = time.perf_counter()
        if self.resumed is not None:
            end = now + self.share * (now - self.resumed)
            while now < end:
                now = time.perf_counter()
        self.resumed = now
