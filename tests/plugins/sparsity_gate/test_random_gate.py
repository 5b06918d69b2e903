from __future__ import annotations

import pytest
import torch

from resnetbk.kinds import Rows
from resnetbk_plugins.kernels.noise import drawn, uniform
from resnetbk_plugins.sparsity_gate.random_gate import Random


def rows(batch: int = 4, count: int = 300) -> Rows:
    return Rows(torch.randn(batch, count, 8), torch.arange(count).repeat(batch, 1))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("train", [True, False])
def test_the_density_is_what_was_asked_for(keep: float, train: bool) -> None:
    torch.manual_seed(0)
    gate = Random(keep=keep).build(width=8, depth=5).train(train)
    shares = [float(gate.keep(layer, rows(8, 1000)).mask.float().mean()) for layer in (1, 2, 3, 4)]
    assert sum(shares) / 4 == pytest.approx(keep, abs=0.02)
    assert len(set(shares)) > 1


def test_out_of_training_the_choice_is_fixed_by_layer_position_and_seed() -> None:
    known = rows()
    masks = [Random(seed=seed).build(width=8, depth=3).eval().keep(1, known).mask for seed in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    gate = Random().build(width=8, depth=3).eval()
    assert not torch.equal(gate.keep(1, known).mask, gate.keep(2, known).mask)
    assert torch.equal(gate.keep(1, known).mask[0], gate.keep(1, rows(1)).mask[0])


def test_in_training_torchs_generator_decides() -> None:
    gate, known, masks = Random().build(width=8, depth=3), rows(), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(gate.keep(1, known).mask)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0][0], masks[0][1])
    assert not torch.equal(gate.keep(1, known).mask, gate.keep(1, known).mask)


def test_noise_does_not_depend_on_how_many_rows_there_are() -> None:
    position = torch.arange(40).repeat(3, 1)
    torch.manual_seed(0)
    long = drawn(position)
    torch.manual_seed(0)
    assert torch.equal(drawn(position[:2, :7]), long[:2, :7])


def test_noise_is_even_and_unrelated_from_place_to_place() -> None:
    u = uniform(3, torch.arange(64)[:, None], torch.arange(512).repeat(64, 1))
    assert bool(((u > 0) & (u < 1)).all())
    counts = torch.histc(u, bins=16, min=0, max=1)
    chi_squared = float(((counts - 2048) ** 2 / 2048).sum())
    assert chi_squared < 45  # 15 degrees of freedom, p < 1e-4
    centred = (u - 0.5) * 12**0.5
    for related in (
        centred[:, 1:] * centred[:, :-1],
        centred[1:] * centred[:-1],
        centred[1:, 1:] * centred[:-1, :-1],
    ):
        assert abs(float(related.mean())) < 5 / related.numel() ** 0.5
    torch.testing.assert_close(
        uniform(4, torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1).long()).shape, (1, 1)
    )
