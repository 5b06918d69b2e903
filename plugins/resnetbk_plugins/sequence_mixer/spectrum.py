"""The learned spectrum of the resolvent mixers: an energy and a width eta for each chain."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import with_role


class Spectrum(nn.Module):
    """Energies E and eta of C chains, both learned; eta = softplus(raw) stays positive by construction.

    E is initialised evenly over [-spread, spread], eta over [eta_low, eta_high], evenly in `raw_eta`.
    A constant hopping t needs no parameter: 1 / (a - t^2 g) is the chain of hopping 1 with a / t in place of
    a, so a learned one is a learned scale of the potential, the energy and eta together.
    """

    def __init__(self, chains: int, spread: float, eta_low: float, eta_high: float) -> None:
        super().__init__()
        self.energy = with_role(nn.Parameter(torch.linspace(-spread, spread, chains)), "vector")
        low, high = (eta + math.log(-math.expm1(-eta)) for eta in (eta_low, eta_high))
        self.raw_eta = with_role(
            nn.Parameter(torch.linspace(low, high, chains)), "vector"
        )  # eta = softplus(raw_eta)

    def site(self, potential: Tensor) -> tuple[Tensor, Tensor]:
        """(..., C) -> potential + E and eta (C,), in at least float32: ratios amplify what half precision
        rounds away."""
        dtype = torch.promote_types(potential.dtype, torch.float32)
        return potential.to(dtype) + self.energy.to(dtype), F.softplus(self.raw_eta.to(dtype))

    def zeros(self, batch: int) -> Tensor:
        """(B, C): the state before the first row."""
        dtype = torch.promote_types(self.energy.dtype, torch.float32)
        return torch.zeros(batch, len(self.energy), dtype=dtype, device=self.energy.device)
