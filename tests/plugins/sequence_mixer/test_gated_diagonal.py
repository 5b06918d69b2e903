"""Gated averages against their own definition, row by row."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnetbk_plugins.sequence_mixer.gated_diagonal import GatedDiagonal


@pytest.mark.parametrize("gated", [True, False])
def test_rows_are_gated_averages_of_values(gated: bool) -> None:
    torch.manual_seed(0)
    mixer = GatedDiagonal(channels=5, convolution=0, output_gate=gated).build(width=8, depth=1).double()
    nn.init.normal_(mixer.output.weight)
    x = torch.randn(2, 70, 8, dtype=torch.float64)
    h, expected = torch.zeros(2, 5, dtype=torch.float64), []
    for i in range(70):
        f = torch.sigmoid(x[:, i] @ mixer.forget.weight.T + mixer.forget_bias)
        h = f * h + (1 - f) * (x[:, i] @ mixer.value.weight.T)
        gate = nn.functional.silu(x[:, i] @ mixer.gate.weight.T) if gated else 1.0
        norm = h / (h.square().mean(-1, keepdim=True) + torch.finfo(torch.float64).eps).sqrt()
        expected.append((norm * gate) @ mixer.output.weight.T)
    torch.testing.assert_close(mixer(x, torch.arange(70).repeat(2, 1), None), torch.stack(expected, 1))


def test_time_constants_start_spread_from_1_to_128_rows() -> None:
    mixer = GatedDiagonal(channels=8).build(width=4, depth=1)
    time = -1 / torch.sigmoid(mixer.forget_bias).log()
    torch.testing.assert_close(time, 2.0 ** torch.arange(8), rtol=1e-4, atol=0.0)


def test_channels_are_the_width_unless_said() -> None:
    assert GatedDiagonal().build(width=6, depth=1).initial_state(3)["h"].shape == (3, 6)
    assert GatedDiagonal(channels=4).build(width=6, depth=1).initial_state(3)["h"].shape == (3, 4)
    with pytest.raises(ValueError, match="channels"):
        GatedDiagonal(channels=0)


@pytest.mark.parametrize("row", [0, 33])
def test_one_infinite_number_spoils_all_rows_from_its_own(row: int) -> None:
    mixer = GatedDiagonal().build(width=8, depth=1)
    nn.init.normal_(mixer.output.weight)
    x, position = torch.randn(1, 90, 8), torch.arange(90)[None]
    before = mixer(x, position, None)
    x[0, row, 3] = torch.inf
    after = mixer(x, position, None)
    assert torch.equal(before[:, :row], after[:, :row])
    assert not after[:, row:].isfinite().any()


def test_state_under_bfloat16_is_float32() -> None:
    mixer = GatedDiagonal().build(width=8, depth=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        row, state = mixer.step(torch.randn(2, 8), torch.zeros(2, dtype=torch.int64), mixer.initial_state(2))
    assert (row.dtype, state["h"].dtype) == (torch.bfloat16, torch.float32)
