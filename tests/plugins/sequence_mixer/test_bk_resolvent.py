"""The value path is the resolvent applied to the source terms so far."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnetbk_plugins.kernels import resolvent
from resnetbk_plugins.sequence_mixer.bk_resolvent import BKResolvent


def test_rows_read_the_dense_resolvent_of_the_past() -> None:
    torch.manual_seed(0)
    mixer = BKResolvent(chains=3, convolution=0, eta_low=0.3).build(width=4, depth=1).double()
    nn.init.normal_(mixer.output.weight)
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    site, eta = mixer.spectrum.site(mixer.potential(x))
    hopping = -torch.diag(torch.ones(6, dtype=torch.float64), 1)
    hopping = hopping + hopping.T
    source = mixer.source(x)[0]
    y = torch.stack(
        [
            torch.stack(
                [
                    torch.linalg.solve(
                        torch.diag(site[0, : i + 1, c] - 1j * eta[c]) + hopping[: i + 1, : i + 1],
                        source[: i + 1, c].to(torch.complex128),
                    )[i]
                    for c in range(3)
                ]
            )
            for i in range(7)
        ]
    )
    features = torch.cat((y.real, y.imag), dim=-1)
    features = features * features.square().mean(-1, keepdim=True).add(torch.finfo(torch.float64).eps).rsqrt()
    expected = mixer.output(features * F.silu(mixer.gate(x[0])))
    torch.testing.assert_close(mixer(x, torch.arange(7)[None], None)[0], expected)


def test_gradients_are_exact() -> None:
    torch.manual_seed(0)
    mixer = BKResolvent(chains=3, eta_low=0.3).build(width=3, depth=1).double()
    nn.init.normal_(mixer.output.weight)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    position = torch.arange(5).repeat(2, 1)
    names = [name for name, _ in mixer.named_parameters()]

    def run(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(mixer, dict(zip(names, weights, strict=True)), (x, position, None))

    assert torch.autograd.gradcheck(run, (x, *mixer.parameters()))


def test_a_value_lives_on_where_eta_is_small() -> None:
    """One source term at the first row: its influence on the last row falls faster for larger eta."""
    left = []
    for eta in (0.02, 0.2, 1.0):
        mixer = BKResolvent(chains=8, spread=1.0, eta_low=eta, eta_high=eta, convolution=0)
        module = mixer.build(width=4, depth=1).double()
        nn.init.zeros_(module.potential.weight)
        u = torch.zeros(1, 40, 8, dtype=torch.float64)
        u[:, 0] = 1.0
        site, width = module.spectrum.site(module.potential(torch.zeros(1, 40, 4, dtype=torch.float64)))
        real, imag, *_ = resolvent(site, width, u)
        left.append(float(torch.hypot(real, imag)[0, -1].mean().detach()))
    assert left[0] > 10 * left[1] > 100 * left[2]


def test_eta_high_below_eta_low_is_refused() -> None:
    with pytest.raises(ValueError, match="eta_high must be at least"):
        BKResolvent(eta_low=0.5, eta_high=0.4)
