"""Counter-based random numbers."""

from __future__ import annotations

import torch

from resnetbk_plugins.halting_policy.random_halting import RandomHalting
from resnetbk_plugins.kernels.noise import uniform


def test_they_are_spread_evenly_and_neighbours_differ():
    numbers = uniform(7, torch.tensor([[3]]), torch.arange(64_000)[None])[0].double()
    assert float(numbers.min()) > 0
    assert float(numbers.max()) < 1
    counts = (numbers * 64).long().bincount(minlength=64)
    assert float(((counts - 1000.0) ** 2 / 1000).sum()) < 120  # chi squared with 63 degrees of freedom
    nearby = torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))
    assert abs(float(nearby[0, 1])) < 0.02


def test_a_gate_and_a_halting_policy_of_one_seed_choose_independently():
    position = torch.arange(4000)[None]
    halting = RandomHalting(layers=2, seed=0).build(width=8, stacks=()).eval()
    for layer in range(3):
        chances = [halting.chances(layer, position), uniform(0, torch.tensor([[layer]]), position)]
        assert abs(float(torch.corrcoef(torch.cat(chances))[0, 1])) < 0.06
