"""One layer: a sequence mixer and a channel mixer, wired into the residual stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from resnetbk.kinds import Penalties

Mix = Callable[[Tensor], Tensor]
"""Applies the layer's sequence mixer to flat rows, (R, D) -> (R, D); the trunk knows their sequences."""


def norm(style: str, width: int) -> nn.Module:
    """`rms`: RMSNorm (Zhang & Sennrich 2019); `layer`: LayerNorm without bias."""
    return nn.RMSNorm(width) if style == "rms" else nn.LayerNorm(width, bias=False)


class Layer(nn.Module):
    """Both wirings work on flat rows (R, D), so a layer costs what the rows it is given cost.

    sequential  x + mixer(norm x), then x + channel(norm x)
    resnet-bk   x + c + mixer(norm c) with c = channel(norm x)
    """

    def __init__(self, mixer: Any, channel: Any, *, width: int, style: str, wiring: str) -> None:
        super().__init__()
        self.mixer: Any = mixer
        self.channel: Any = channel
        self.mixer_norm = norm(style, width)
        self.channel_norm = norm(style, width)
        self.wiring = wiring

    def forward(self, x: Tensor, mix: Mix) -> tuple[Tensor, Penalties]:
        """(R, D) -> (R, D) and the channel mixer's penalties."""
        if self.wiring == "sequential":
            x = x + mix(self.mixer_norm(x))
            c, penalties = self.channel(self.channel_norm(x))
            return x + c, penalties
        c, penalties = self.channel(self.channel_norm(x))
        # to the residual's type: under autocast the channel mixer answers in half precision
        return x + c + mix(self.mixer_norm(c.to(x.dtype))), penalties
