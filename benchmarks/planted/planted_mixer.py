"""bk-causal that sleeps: what it costs is known, so an instrument that does not find it is wrong."""

from __future__ import annotations

import time

import attrs
from torch import Tensor, nn

from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal


@attrs.frozen(kw_only=True)
class Sleeps(BKCausal):
    """bk-causal whose training steps take `factor` times as long. For one layer."""

    factor: float = 1.3

    def build(self, *, width: int, depth: int) -> nn.Module:
        module = super().build(width=width, depth=depth)
        module.register_forward_pre_hook(Sleeper(self.factor - 1))
        return module


class Sleeper:
    """Sleeps `share` of the time that passed since it last woke, which is one step."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.woke: float | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not module.training:
            return
        if self.woke is not None:
            time.sleep(self.share * (time.perf_counter() - self.woke))
        self.woke = time.perf_counter()
