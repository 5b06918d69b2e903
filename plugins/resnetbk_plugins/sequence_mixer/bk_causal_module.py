"""The torch module of `bk-causal`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import State
from resnetbk_plugins.kernels.one_sided import one_sided, one_sided_step


class CausalChains(nn.Module):
    """`chains` one-sided resolvents with hopping 1 and potentials read from the rows.

    H is tridiagonal with diagonal v_i and off-diagonal 1; a_i = v_i + E - i eta and
    g_i = 1 / (a_i - g_{i-1}), g_{-1} = 0, is the last diagonal element of (H + E - i eta)^-1 cut
    after site i. The iteration keeps Im g > 0, so |g| <= 1 / eta without any clamp.
    The row it gives is output([Re g, Im g]).
    """

    def __init__(self, width: int, chains: int, spread: float, eta_low: float, eta_high: float) -> None:
        super().__init__()
        self.potential = nn.Linear(width, chains, bias=False)
        self.energy = nn.Parameter(torch.linspace(-spread, spread, chains))
        low, high = (math.log(math.expm1(eta)) for eta in (eta_low, eta_high))
        self.raw_eta = nn.Parameter(torch.linspace(low, high, chains))  # eta = softplus(raw_eta)
        self.output = nn.Linear(2 * chains, width, bias=False)
        nn.init.normal_(self.potential.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D). Chains count rows, not positions; padding comes last, so is never seen."""
        read = self.potential(x)
        with torch.autocast(x.device.type, enabled=False):
            g_real, g_imag = one_sided(*self._site(read))
        return self._features(g_real, g_imag, read.dtype)

    def initial_state(self, batch: int) -> State:
        """g before the first row: `g_real` and `g_imag`, (B, C) zeros."""
        dtype = torch.promote_types(self.energy.dtype, torch.float32)
        zeros = torch.zeros(batch, len(self.energy), dtype=dtype, device=self.energy.device)
        return {"g_real": zeros, "g_imag": zeros.clone()}

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) -> (B, D): one more site on every chain."""
        read = self.potential(x)
        with torch.autocast(x.device.type, enabled=False):
            g_real, g_imag = one_sided_step(*self._site(read), state["g_real"], state["g_imag"])
        return self._features(g_real, g_imag, read.dtype), {"g_real": g_real, "g_imag": g_imag}

    def _site(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """v + E and eta in at least float32: the ratios amplify what half precision rounds away."""
        dtype = torch.promote_types(read.dtype, torch.float32)
        return read.to(dtype) + self.energy.to(dtype), F.softplus(self.raw_eta.to(dtype))

    def _features(self, g_real: Tensor, g_imag: Tensor, dtype: torch.dtype) -> Tensor:
        row: Tensor = self.output(torch.cat((g_real, g_imag), dim=-1).to(dtype))
        return row
