from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal


def test_rows_are_the_resolvent_of_the_rows_so_far() -> None:
    """The features against a dense inverse of (H_{0..i} + E - i eta), chain by chain."""
    torch.manual_seed(0)
    mixer = BKCausal(chains=3, convolution=0).build(width=4, depth=1).double()
    nn.init.normal_(mixer.output.weight)
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    site = mixer.potential(x)[0] + mixer.spectrum.energy - 1j * nn.functional.softplus(mixer.spectrum.raw_eta)
    hopping = torch.diag(torch.ones(6, dtype=torch.float64), 1)
    hopping = hopping + hopping.T
    g = torch.stack(
        [
            torch.stack(
                [
                    torch.linalg.inv(torch.diag(site[: i + 1, c]) + hopping[: i + 1, : i + 1])[i, i]
                    for c in range(3)
                ]
            )
            for i in range(7)
        ]
    )
    expected = mixer.output(torch.cat((g.real, g.imag), dim=-1))
    torch.testing.assert_close(mixer(x, torch.arange(7)[None], None)[0], expected)


def test_gradients_are_exact() -> None:
    torch.manual_seed(0)
    mixer = BKCausal(chains=4).build(width=3, depth=1).double()
    nn.init.normal_(mixer.output.weight)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    position = torch.arange(5).expand(2, 5)
    names = [name for name, _ in mixer.named_parameters()]

    def run(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(mixer, dict(zip(names, weights, strict=True)), (x, position, None))

    assert torch.autograd.gradcheck(run, (x, *mixer.parameters()))


def test_energies_and_eta_start_spread_over_their_ranges() -> None:
    mixer = BKCausal(chains=5, spread=2.0, eta_low=0.5, eta_high=1.5).build(width=8, depth=1)
    torch.testing.assert_close(mixer.spectrum.energy.detach(), torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]))
    eta = nn.functional.softplus(mixer.spectrum.raw_eta.detach())
    torch.testing.assert_close(eta[[0, -1]], torch.tensor([0.5, 1.5]))
    assert bool((eta.diff() > 0).all())


def test_the_scan_keeps_float32_under_autocast() -> None:
    mixer = BKCausal(chains=5).build(width=8, depth=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = mixer.step(torch.randn(2, 8), torch.zeros(2, dtype=torch.int64), mixer.initial_state(2))
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_the_state_does_not_grow() -> None:
    mixer = BKCausal(chains=5, convolution=4).build(width=8, depth=1)
    state = mixer.initial_state(2)
    for i in range(6):
        _, state = mixer.step(torch.randn(2, 8), torch.full((2,), i), state)
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        assert shapes == {"g_real": (2, 5), "g_imag": (2, 5), "rows": (2, 3, 8)}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"chains": 0}, "'chains' must be >= 1: 0"),
        ({"spread": -1.0}, "'spread' must be >= 0.0: -1.0"),
        ({"eta_low": 2.0}, "eta_high must be at least eta_low = 2.0, not 1.7"),
    ],
)
def test_mistakes_are_named(keys: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        BKCausal(**keys)
