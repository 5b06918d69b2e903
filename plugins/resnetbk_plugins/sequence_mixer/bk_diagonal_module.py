"""The torch module of `bk-diagonal`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnetbk_plugins.kernels import two_sided
from resnetbk_plugins.sequence_mixer.spectrum import Spectrum

WALL = 1e15
"""A potential so high that sites behind it have no influence: their ratios are lost in rounding."""


class TwoSidedChains(nn.Module):
    """`chains` resolvents with hopping 1 and potentials read from the rows; the output row is
    output([Re G_ii, Im G_ii]) with G the inverse of H + E - i eta, |G_ii| <= 1 / eta."""

    def __init__(self, width: int, chains: int, spread: float, eta_low: float, eta_high: float) -> None:
        super().__init__()
        self.potential = nn.Linear(width, chains, bias=False)
        self.spectrum = Spectrum(chains, spread, eta_low, eta_high)
        self.output = nn.Linear(2 * chains, width, bias=False)
        nn.init.normal_(self.potential.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D). Sites are rows, not positions; a chain ends after `length` of them."""
        read = self.potential(x)
        with torch.autocast(x.device.type, enabled=False):
            potential, eta = self.spectrum.site(read)
            if length is not None:
                padding = torch.arange(x.shape[1], device=x.device) >= length[:, None]
                potential = potential.masked_fill(padding[..., None], WALL)
            real, imag = two_sided(potential, eta)
        row: Tensor = self.output(torch.cat((real, imag), dim=-1).to(read.dtype))
        return row
