"""The torch module of `bk-causal`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnetbk.kinds import State
from resnetbk_plugins.kernels import (
    one_sided,
    one_sided_step,
    signed_one_sided,
    signed_one_sided_step,
)
from resnetbk_plugins.sequence_mixer.short_convolution import ShortConvolution
from resnetbk_plugins.sequence_mixer.spectrum import Spectrum


class CausalChains(nn.Module):
    """`chains` one-sided resolvents with hopping 1, or read from the rows, and potentials read from the rows.

    H is tridiagonal with diagonal v_i and off-diagonal 1; a_i = v_i + E - i eta and
    g_i = 1 / (a_i - g_{i-1}), g_{-1} = 0, is the last diagonal element of (H + E - i eta)^-1 cut
    after site i. The iteration keeps Im g > 0, so |g| <= 1 / eta without any clamp.
    The output row is output([Re g, Im g]). With `signed` hopping it is the ratio of `signed_one_sided`, with
    b_i = tanh of a linear map of the row.
    """

    def __init__(
        self,
        width: int,
        chains: int,
        spread: float,
        eta_low: float,
        eta_high: float,
        convolution: int,
        signed: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.convolution = ShortConvolution(width, convolution) if convolution else None
        self.potential = nn.Linear(width, chains, bias=False)
        self.spectrum = Spectrum(chains, spread, eta_low, eta_high)
        self.output = nn.Linear(2 * chains, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.potential.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)
        self.hopping = None
        if signed:
            self.hopping = nn.Linear(width, chains, bias=False)
            nn.init.normal_(self.hopping.weight, std=width**-0.5)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D). Sites are rows, not positions; padding comes last, so it is never seen."""
        x = x if self.convolution is None else self.convolution(x)
        read = self.potential(x)
        hopping = None if self.hopping is None else self.hopping(x)
        with torch.autocast(x.device.type, enabled=False):
            site = self.spectrum.site(read)
            if hopping is None:
                g_real, g_imag = one_sided(*site)
            else:
                g_real, g_imag = signed_one_sided(*site, hopping.to(site[0].dtype).tanh())
        return self._features(g_real, g_imag, read.dtype)

    def initial_state(self, batch: int) -> State:
        """g before the first row, (B, C) zeros, and the convolution's previous rows."""
        state = {"g_real": self.spectrum.zeros(batch), "g_imag": self.spectrum.zeros(batch)}
        if self.convolution is not None:
            state["rows"] = self.convolution.before(batch)
        return state

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) -> (B, D): one more site on every chain."""
        after: State = {}
        if self.convolution is not None:
            x, after["rows"] = self.convolution.step(x, state["rows"])
        read = self.potential(x)
        hopping = None if self.hopping is None else self.hopping(x)
        with torch.autocast(x.device.type, enabled=False):
            site, before = self.spectrum.site(read), (state["g_real"], state["g_imag"])
            if hopping is None:
                g = one_sided_step(*site, *before)
            else:
                g = signed_one_sided_step(*site, hopping.to(site[0].dtype).tanh(), *before)
        after["g_real"], after["g_imag"] = g
        return self._features(*g, read.dtype), after

    def _features(self, g_real: Tensor, g_imag: Tensor, dtype: torch.dtype) -> Tensor:
        row: Tensor = self.dropout(self.output(torch.cat((g_real, g_imag), dim=-1).to(dtype)))
        return row
