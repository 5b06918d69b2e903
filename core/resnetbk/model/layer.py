"""One layer: a sequence mixer and a channel mixer, wired into the residual stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from resnetbk.kinds import ChannelMixer, Penalties, SequenceMixer

Mix = Callable[[Tensor], Tensor]
"""Applies the layer's sequence mixer to flat rows, (R, D) -> (R, D); the trunk knows their sequences."""

Block = Callable[[Tensor, Mix], tuple[Tensor, Penalties]]
"""A layer, or half of one, on flat rows: (R, D) -> (R, D) and the channel mixer's penalties."""


def norm(style: str, width: int, eps: float | None = None) -> nn.Module:
    """`rms`: RMSNorm (Zhang & Sennrich 2019); `layer`: LayerNorm without bias; `layer-bias`: with it."""
    if style == "rms":
        return nn.RMSNorm(width, eps)
    return nn.LayerNorm(width, eps or 1e-5, bias=style == "layer-bias")


def constant(block: Block, x: Tensor, mix: Mix) -> tuple[Tensor, Penalties]:
    """What a block gives, to the bit, with the gradient of the identity: nothing in it learns."""
    with torch.no_grad():
        after, penalties = block(x, mix)
    return after + (x - x.detach()), penalties


class Layer(nn.Module):
    """Both wirings work on flat rows (R, D), so a layer costs what the rows it is given cost.

    sequential  x + mixer(norm x), then x + channel(norm x)
    resnet-bk   x + c + mixer(norm c) with c = channel(norm x)
    """

    mixer: SequenceMixer
    channel: ChannelMixer
    # calls mixer and `changed`, which training may compile
    run: Callable[..., Any] = staticmethod(lambda piece, *arguments: piece(*arguments))

    def __init__(
        self, mixer: SequenceMixer, channel: ChannelMixer, *, width: int, style: str, wiring: str,
        eps: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.mixer = mixer
        self.channel = channel
        self.mixer_norm = norm(style, width, eps)
        self.channel_norm = norm(style, width, eps)
        self.wiring = wiring

    def blocks(self, scope: str) -> tuple[tuple[Block, bool], ...]:
        """What runs one after the other, each with whether a gate of this scope applies to it."""
        if scope == "layer":
            return ((self, True),)
        return (self.across, scope == "mixer"), (self.within, scope == "channel")

    def forward(self, x: Tensor, mix: Mix) -> tuple[Tensor, Penalties]:
        if self.wiring == "sequential":
            return Layer.within(self, Layer.across(self, x, mix)[0], mix)  # not as FSDP wraps them
        c, penalties = self.run(self.changed, x)
        # to the residual's type: under autocast the channel mixer returns half precision
        return x + c + mix(self.mixer_norm(c.to(x.dtype))), penalties

    def across(self, x: Tensor, mix: Mix) -> tuple[Tensor, Penalties]:
        """The first half of a sequential layer: what rows exchange."""
        return x + mix(self.mixer_norm(x)), {}

    def within(self, x: Tensor, mix: Mix) -> tuple[Tensor, Penalties]:
        """The second half of a sequential layer: what happens within each row."""
        c, penalties = self.run(self.changed, x)
        return x + c, penalties

    def changed(self, x: Tensor) -> tuple[Tensor, Penalties]:
        """channel(norm x)."""
        return self.channel(self.channel_norm(x))
