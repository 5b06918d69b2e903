"""Variants of bk-causal that were tried and rejected; docs/bk-core.md has their results."""

from __future__ import annotations

import attrs
import torch
from attrs.validators import ge
from torch import Tensor, nn

from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal


@attrs.frozen(kw_only=True)
class Frozen(BKCausal):
    """bk-causal with a fixed spectrum."""

    def build(self, *, width: int, depth: int) -> nn.Module:
        module = super().build(width=width, depth=depth)
        module.spectrum.requires_grad_(False)
        return module


@attrs.frozen(kw_only=True)
class Energies(BKCausal):
    """bk-causal in which `energies` chains, far apart in energy, share a potential."""

    energies: int = attrs.field(default=4, validator=ge(1))

    def build(self, *, width: int, depth: int) -> nn.Module:
        module = super().build(width=width, depth=depth)
        module.potential = SharedPotential(width, self.chains // self.energies, self.energies)
        return module


class SharedPotential(nn.Module):
    """(..., D) -> (..., energies * potentials): each potential `energies` times."""

    def __init__(self, width: int, potentials: int, energies: int) -> None:
        super().__init__()
        self.energies = energies
        self.read = nn.Linear(width, potentials, bias=False)
        nn.init.normal_(self.read.weight, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.read(x)] * self.energies, dim=-1)
