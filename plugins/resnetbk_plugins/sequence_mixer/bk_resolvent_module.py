"""The torch module of `bk-resolvent`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import State
from resnetbk_plugins.kernels import resolvent, resolvent_step, signed_resolvent, signed_resolvent_step
from resnetbk_plugins.sequence_mixer.short_convolution import ShortConvolution
from resnetbk_plugins.sequence_mixer.spectrum import Spectrum

CHAIN = ("y_real", "y_imag", "g_real", "g_imag")


class ResolventValues(nn.Module):
    """y_i = g_i (u_i + y_{i-1}) on `chains` chains, g_i = 1 / (v_i + E - i eta - g_{i-1}); v and u are read
    from the rows, and the output row is output(norm([Re y, Im y]) * silu(gate)).

    With `signed` hopping, y_i = g_i (u_i + b_i y_{i-1}) and g_i = 1 / (v_i + E - i eta - b_i^2 g_{i-1}), with
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
        self.source = nn.Linear(width, chains, bias=False)
        self.gate = nn.Linear(width, 2 * chains, bias=False)
        self.spectrum = Spectrum(chains, spread, eta_low, eta_high)
        # without a learned scale: the output projection has one for each feature
        self.norm = nn.RMSNorm(2 * chains, elementwise_affine=False)
        self.output = nn.Linear(2 * chains, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.potential, self.source, self.gate):
            nn.init.normal_(layer.weight, std=width**-0.5)
        nn.init.zeros_(self.output.weight)
        self.hopping = None
        if signed:
            self.hopping = nn.Linear(width, chains, bias=False)
            nn.init.normal_(self.hopping.weight, std=width**-0.5)

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D) -> (B, M, D). Sites are rows, not positions; padding comes last, so it is never seen."""
        mixed = x if self.convolution is None else self.convolution(x)
        read, source = self.potential(mixed), self.source(mixed)
        hopping = None if self.hopping is None else self.hopping(mixed)
        with torch.autocast(x.device.type, enabled=False):
            site, eta = self.spectrum.site(read)
            u = source.to(site.dtype)
            if hopping is None:
                y_real, y_imag, *_ = resolvent(site, eta, u)
            else:
                y_real, y_imag, *_ = signed_resolvent(site, eta, hopping.to(site.dtype).tanh(), u)
        return self._features(x, y_real, y_imag, read.dtype)

    def initial_state(self, batch: int) -> State:
        """y and g before the first row, (B, C) zeros, and the convolution's previous rows."""
        state = {name: self.spectrum.zeros(batch) for name in CHAIN}
        if self.convolution is not None:
            state["rows"] = self.convolution.before(batch)
        return state

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, D) -> (B, D): one more site on every chain."""
        after: State = {}
        mixed = x
        if self.convolution is not None:
            mixed, after["rows"] = self.convolution.step(x, state["rows"])
        read, source = self.potential(mixed), self.source(mixed)
        hopping = None if self.hopping is None else self.hopping(mixed)
        with torch.autocast(x.device.type, enabled=False):
            site, eta = self.spectrum.site(read)
            u, before = source.to(site.dtype), [state[name] for name in CHAIN]
            if hopping is None:
                chain = resolvent_step(site, eta, u, *before)
            else:
                chain = signed_resolvent_step(site, eta, hopping.to(site.dtype).tanh(), u, *before)
        after.update(zip(CHAIN, chain, strict=True))
        return self._features(x, chain[0], chain[1], read.dtype), after

    def _features(self, x: Tensor, y_real: Tensor, y_imag: Tensor, dtype: torch.dtype) -> Tensor:
        y = self.norm(torch.cat((y_real, y_imag), dim=-1)).to(dtype)
        row: Tensor = self.dropout(self.output(y * F.silu(self.gate(x))))
        return row
